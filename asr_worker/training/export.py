"""Writes the network as a streaming "zipformer2 CTC" model of sherpa-onnx. Needs torch and onnx.

`python -m asr_worker.training.export WORKDIR/model.pt model.onnx [--chunk 16] [--weights int8]`

sherpa-onnx looks only at order, types and shapes of inputs and outputs and at the metadata, so any
streaming network fits whose state fits the tensors of a Zipformer of the declared sizes. Declared
is one layer; with E = (blocks + 2) / 2 * dim:

    input -> output               shape                        holds
    x -> log_probs                [N, T, 80] -> [N, n, V]      log-mel -> log-probabilities
    key                           [1, N, dim]                  the GRU's state
    nonlin_attn, val1, val2       [1, N, 1, 3 E / 4], [1, N, 1] twice    nothing
    conv1, conv2                  [N, E, kernel - 1] each      histories of the blocks
    embed_states                  [N, 128, 3, 19]              nothing (a fixed size)
    processed_lens                [N], int64                   frames so far

The graph is built by hand. Weights are stored as int8 with one scale for each output row and made
fp32 by a Cast and a Mul that onnxruntime folds when it loads: a small file, fp32 arithmetic.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from asr_worker.training.layout import FRAMES_EXTRA, MEL_USED

STATES = (
    "key", "nonlin_attn", "val1", "val2", "conv1", "conv2", "embed_states", "processed_lens",
)  # fmt: skip
Array = NDArray[Any]


class Graph:
    """Nodes and constants under construction."""

    def __init__(self, weights: str) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._weights = weights
        self._count = 0

    def name(self, prefix: str) -> str:
        """A new name."""
        self._count += 1
        return f"{prefix}_{self._count}"

    def ops(self, kind: str, *inputs: str, outputs: Sequence[str], **attributes: Any) -> None:
        """Add a node with named outputs."""
        from onnx import helper

        node = helper.make_node(
            kind, list(inputs), list(outputs), name=self.name("n"), **attributes
        )
        self.nodes.append(node)

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output; returns its name."""
        output = self.name(kind)
        self.ops(kind, *inputs, outputs=[output], **attributes)
        return output

    def split(self, name: str, axis: int, parts: int) -> list[str]:
        """Cut a tensor into equal parts."""
        outputs = [self.name("part") for _ in range(parts)]
        self.ops("Split", name, outputs=outputs, axis=axis, num_outputs=parts)
        return outputs

    def constant(self, value: Array) -> str:
        """Add a constant as it is."""
        from onnx import numpy_helper

        name = self.name("c")
        self.constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def ints(self, *values: int) -> str:
        """Add a vector of int64."""
        return self.constant(np.array(values, np.int64))

    def weight(self, value: Array, axis: int = 0) -> str:
        """Add a matrix or kernel in the chosen storage; each index of `axis` has its own scale."""
        from onnx import TensorProto

        value = np.ascontiguousarray(value, np.float32)
        if self._weights == "fp32" or value.size < 512:
            return self.constant(value)
        if self._weights == "fp16":
            return self.op("Cast", self.constant(value.astype(np.float16)), to=TensorProto.FLOAT)
        others = tuple(i for i in range(value.ndim) if i != axis)
        largest = np.abs(value).max(others, keepdims=True)
        scale = np.maximum(largest / 127, 1e-12).astype(np.float32)
        stored = self.constant(np.clip(np.rint(value / scale), -127, 127).astype(np.int8))
        return self.op("Mul", self.op("Cast", stored, to=TensorProto.FLOAT), self.constant(scale))

    def linear(self, x: str, layer: Any) -> str:
        """A torch Linear."""
        product = self.op("MatMul", x, self.weight(_array(layer.weight).T, 1))
        return self.op("Add", product, self.constant(_array(layer.bias)))

    def layer_norm(self, x: str, layer: Any) -> str:
        """A torch LayerNorm over the last axis."""
        scale, bias = self.constant(_array(layer.weight)), self.constant(_array(layer.bias))
        return self.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=layer.eps)


def _array(parameter: Any) -> Array:
    return np.asarray(parameter.detach().numpy())


def state_shapes(config: dict[str, Any]) -> list[tuple[tuple[int | None, ...], Any]]:
    """Shape (None for the batch) and type of each state, in sherpa-onnx's order."""
    width = (config["blocks"] + 2) // 2 * config["dim"]
    history = (None, width, config["kernel"] - 1)
    small = ((1, None, 1), np.float32)
    return [
        ((1, None, config["dim"]), np.float32),
        ((1, None, 1, 3 * width // 4), np.float32),
        small,
        small,
        (history, np.float32),
        (history, np.float32),
        ((None, 128, 3, 19), np.float32),
        ((None,), np.int64),
    ]


def _front(g: Graph, model: Any) -> str:
    """Log-mel to [N, n, dim]: the used bins, normalised, and two strided convolutions."""
    x = g.op("Slice", "x", g.ints(0), g.ints(MEL_USED), g.ints(2))
    x = g.op("Sub", x, g.constant(_array(model.mean)))
    x = g.op("Mul", x, g.constant(_array(model.istd)))
    low, high = g.constant(np.array(-3, np.float32)), g.constant(np.array(3, np.float32))
    x = g.op("Transpose", g.op("Clip", x, low, high), perm=[0, 2, 1])
    for conv in (model.conv1, model.conv2):
        weight, bias = g.weight(_array(conv.weight)), g.constant(_array(conv.bias))
        shape, strides = list(conv.kernel_size), list(conv.stride)
        x = g.op("Relu", g.op("Conv", x, weight, bias, kernel_shape=shape, strides=strides))
    return g.op("Transpose", x, perm=[0, 2, 1])


def _blocks(g: Graph, model: Any, x: str) -> str:
    """All blocks. Each keeps the frames that its convolution saw, the look-ahead block also those
    of its residual path; the histories lie side by side in conv1 and conv2."""
    config = model.config
    kernel, half = config["kernel"], (config["blocks"] + 2) // 2
    history = g.split("conv1", 1, half) + g.split("conv2", 1, half)
    kept: list[str] = []

    def extended(y: str) -> str:
        """[N, n, dim] -> [N, dim, kernel - 1 + n], with what was kept in front."""
        y = g.op("Transpose", y, perm=[0, 2, 1])
        y = g.op("Concat", history[len(kept)], y, axis=2)
        kept.append(g.op("Slice", y, g.ints(1 - kernel), g.ints(2**31 - 1), g.ints(2)))
        return y

    for block in model.blocks:
        gated, gate = g.split(g.linear(g.layer_norm(x, block.norm), block.up), -1, 2)
        y = extended(g.op("Mul", gated, g.op("Sigmoid", gate)))
        weight, bias = g.weight(_array(block.depth.weight)), g.constant(_array(block.depth.bias))
        y = g.op("Conv", y, weight, bias, kernel_shape=[kernel], group=config["dim"])
        y = g.linear(g.op("Transpose", g.op("Relu", y), perm=[0, 2, 1]), block.down)
        if block.ahead:
            delayed = g.op("Slice", extended(x), g.ints(0), g.ints(1 - kernel), g.ints(2))
            x = g.op("Transpose", delayed, perm=[0, 2, 1])
        x = g.op("Add", x, y)
    g.ops("Concat", *kept[:half], outputs=["new_conv1"], axis=1)
    g.ops("Concat", *kept[half:], outputs=["new_conv2"], axis=1)
    return x


def _recurrent(g: Graph, model: Any, x: str) -> str:
    """The GRU on top of x. torch orders its gates r, z, n and ONNX z, r, h."""
    dim, gru = model.config["dim"], model.gru

    def zrh(weight: Any) -> Array:
        w = _array(weight)
        return np.concatenate([w[dim : 2 * dim], w[:dim], w[2 * dim :]])

    steps = g.op("Transpose", g.layer_norm(x, model.norm), perm=[1, 0, 2])
    weights = [g.weight(zrh(w)[None], 1) for w in (gru.weight_ih_l0, gru.weight_hh_l0)]
    bias = g.constant(np.concatenate([zrh(gru.bias_ih_l0), zrh(gru.bias_hh_l0)])[None])
    out = g.name("gru")
    g.ops(
        "GRU", steps, *weights, bias, "", "key", outputs=[out, "new_key"],
        hidden_size=dim, linear_before_reset=1,
    )  # fmt: skip
    return g.op("Transpose", g.op("Squeeze", out, g.ints(1)), perm=[1, 0, 2])


def build(model: Any, weights: str = "int8", chunk: int = 16) -> Any:
    """The ONNX model; `chunk` is feature frames a step, a multiple of 4."""
    import onnx
    from onnx import TensorProto, helper

    config = model.config
    if config["blocks"] % 2 or config["dim"] % 4 or chunk % 4:
        raise ValueError("blocks must be even, dim and chunk multiples of 4")
    g = Graph(weights)
    x = _blocks(g, model, _front(g, model))
    x = g.op("Add", x, _recurrent(g, model, x))
    g.ops("LogSoftmax", g.linear(x, model.out), outputs=["log_probs"], axis=-1)
    for name in ("nonlin_attn", "val1", "val2", "embed_states"):
        g.ops("Identity", name, outputs=[f"new_{name}"])
    g.ops("Add", "processed_lens", g.ints(chunk), outputs=["new_processed_lens"])

    value = helper.make_tensor_value_info
    inputs = [value("x", TensorProto.FLOAT, ["N", "T", 80])]
    outputs = [value("log_probs", TensorProto.FLOAT, ["N", "n", config["vocabulary"]])]
    for name, (shape, dtype) in zip(STATES, state_shapes(config), strict=True):
        dims = ["N" if size is None else size for size in shape]
        kind = TensorProto.FLOAT if dtype == np.float32 else TensorProto.INT64
        inputs.append(value(name, kind, dims))
        outputs.append(value(f"new_{name}", kind, dims))
    graph = helper.make_graph(g.nodes, "tiny_ctc", inputs, outputs, g.constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    half = (config["blocks"] + 2) // 2
    metadata = {
        "model_type": "zipformer2", "encoder_dims": half * config["dim"],
        "query_head_dims": config["dim"], "value_head_dims": 1, "num_heads": 1,
        "num_encoder_layers": 1, "cnn_module_kernels": 2 * (config["kernel"] - 1),
        "left_context_len": 1, "T": chunk + FRAMES_EXTRA, "decode_chunk_len": chunk,
        "comment": "streaming CTC trained on synthetic telephone speech",
    }  # fmt: skip
    helper.set_model_props(made, {key: str(text) for key, text in metadata.items()})
    onnx.checker.check_model(made)
    return made


def difference(model: Any, made: Any, chunk: int) -> float:
    """Largest difference between the steps in onnxruntime and the whole in torch."""
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(
        made.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    steps, batch = 12, 3
    x = torch.randn(batch, chunk * steps + 5, 80) * 4 - 6
    with torch.no_grad():
        wanted = model(x).numpy()
    names = [value.name for value in session.get_inputs()]
    states: list[Array] = [
        np.zeros([batch if size is None else size for size in shape], dtype)
        for shape, dtype in state_shapes(model.config)
    ]
    given = []
    for i in range(steps):
        piece = x[:, i * chunk : i * chunk + chunk + 5].numpy()
        scores, *states = session.run(None, dict(zip(names, [piece, *states], strict=True)))
        given.append(scores)
    return float(np.abs(np.concatenate(given, 1) - wanted).max())


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--chunk", default=16, show_default=True, help="Frames of 10 ms a step")
@click.option("--weights", default="int8", type=click.Choice(["int8", "fp16", "fp32"]))
def main(checkpoint: Path, target: Path, chunk: int, weights: str) -> None:
    """Write CHECKPOINT as an ONNX file."""
    import onnx
    import torch

    from asr_worker.training.network import TinyCtc

    saved = torch.load(checkpoint)
    model = TinyCtc(**saved["config"])
    model.load_state_dict(saved["model"])
    model.eval()
    made = build(model, weights, chunk)
    click.echo(f"largest difference from torch: {difference(model, made, chunk):.4f}")
    onnx.save(made, target)


if __name__ == "__main__":
    main()
