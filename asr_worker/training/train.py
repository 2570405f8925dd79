"""Trains the network on the CPU: `python -m asr_worker.training.train WORKDIR [--steps 10500]`.

Needs torch. Writes WORKDIR/model.pt. With --steps, one thread and one producer it is repeatable
on one machine.
"""

import math
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from asr_worker.training.batches import Batch, produce
from asr_worker.training.layout import MEL_USED
from asr_worker.training.measure import edits
from asr_worker.training.speech import SpeechSet
from asr_worker.training.telephone import Float32, features, line

SEED = 7
WARM_EXAMPLES = 12_000
LR_WARM_STEPS = 200
CHECK_EVERY = 1_000
CHECKED = ("demo_new_voices", "new_sentences_new_voices")


def statistics(path: Path) -> tuple[Float32, Float32]:
    """Mean and inverse deviation of each feature, [60] each, over 300 utterances."""
    random, speech = np.random.default_rng(1), SpeechSet(path)
    rows = [
        features(line(random, speech.sound(int(k))))[:, :MEL_USED]
        for k in random.integers(len(speech), size=300)
    ]
    together = np.concatenate(rows)
    return together.mean(0), 1 / together.std(0)


def learning_rate(highest: float, step: int, steps: int) -> float:
    """Warm-up, then a cosine down to 2 %."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return highest * min(1.0, (step + 1) / LR_WARM_STEPS) * (cosine * 0.98 + 0.02)


def greedy(best: list[int]) -> list[int]:
    """Tokens of a row of best ids: repeats and blanks (0) go."""
    return [b for a, b in zip([0, *best], best, strict=False) if b and b != a]


def validate(model: Any, path: Path, limit: int = 120) -> float:
    """Token error rate in percent on a mu-law line of 15 dB."""
    import torch

    random, speech = np.random.default_rng(5), SpeechSet(path)
    wrong = total = 0
    model.eval()
    with torch.no_grad():
        for k in range(0, len(speech), max(1, len(speech) // limit)):
            sound = np.concatenate(
                [np.zeros(2400, np.float32), speech.sound(k), np.zeros(6400, np.float32)]
            )
            heard = line(random, sound, snr_db=15, codec="pcmu", level_db=-22)
            scores = model(torch.from_numpy(features(heard))[None])
            wrong += edits(greedy(scores[0].argmax(-1).tolist()), speech[k].tokens)
            total += len(speech[k].tokens)
    model.train()
    return 100 * wrong / total


def loss_of(model: Any, batch: Batch) -> Any:
    """CTC loss per token."""
    import torch
    from torch.nn import functional

    from asr_worker.training.network import output_frames

    scores = model(torch.from_numpy(batch.features))
    frames = torch.tensor([output_frames(n) for n in batch.lengths]).clamp(max=scores.shape[1])
    loss = functional.ctc_loss(
        scores.transpose(0, 1),
        torch.tensor(batch.tokens, dtype=torch.int64),
        frames,
        torch.tensor(batch.counts),
        zero_infinity=True,
        reduction="sum",
    )
    return loss / max(1, sum(batch.counts))


@click.command()
@click.argument("work", type=click.Path(exists=True, path_type=Path))
@click.option("--steps", default=10_500, show_default=True, help="Batches to train on")
@click.option("--lr", default=2e-3, show_default=True, help="Highest learning rate")
@click.option("--batch-s", default=64.0, show_default=True, help="Seconds of sound in a batch")
@click.option("--threads", default=1, show_default=True)
@click.option("--producers", default=1, show_default=True, help="Processes that make batches")
@click.option("--init", type=click.Path(exists=True, path_type=Path), help="model.pt to go on from")
def main(
    work: Path, steps: int, lr: float, batch_s: float, threads: int, producers: int,
    init: Path | None,
) -> None:  # fmt: skip
    """Train on WORK/train.npz."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy's own threads would fight with torch's
    import torch

    from asr_worker.training.network import TinyCtc

    torch.manual_seed(SEED)
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    vocabulary = (work / "tokens.txt").read_text(encoding="utf-8").splitlines()
    model = TinyCtc(len(vocabulary))
    mean, istd = statistics(work / "train.npz")
    model.mean.copy_(torch.from_numpy(mean))
    model.istd.copy_(torch.from_numpy(istd))
    if init is not None:
        model.load_state_dict({**model.state_dict(), **torch.load(init)["model"]})
    processes = multiprocessing.get_context("spawn")
    queue = processes.Queue(12)
    for i in range(producers):
        arguments = (work / "train.npz", SEED + i, queue, batch_s, 1 if init else WARM_EXAMPLES)
        processes.Process(target=produce, args=arguments, daemon=True).start()
    optimiser = torch.optim.AdamW(model.parameters(), lr, betas=(0.9, 0.98), weight_decay=0.01)
    average = {name: value.clone() for name, value in model.state_dict().items()}
    began_s, running = time.monotonic(), 0.0
    model.train()
    for step in range(1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(lr, step - 1, steps)
        loss = loss_of(model, queue.get())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        optimiser.step()
        running = loss.item() if step == 1 else 0.98 * running + 0.02 * loss.item()
        keep = min(0.999, step / (step + 100))
        with torch.no_grad():
            for name, value in model.state_dict().items():
                average[name].mul_(keep).add_(value, alpha=1 - keep)
        if step % 100 == 0:
            minutes = (time.monotonic() - began_s) / 60
            click.echo(f"{minutes:5.1f} min  step {step}  loss per token {running:.4f}")
        if step % CHECK_EVERY == 0:
            current = {name: value.clone() for name, value in model.state_dict().items()}
            model.load_state_dict(average)
            for name in CHECKED:
                click.echo(f"    {name}: {validate(model, work / f'test_{name}.npz'):.2f} %")
            model.load_state_dict(current)
    model.load_state_dict(average)
    saved = {"config": model.config, "model": model.state_dict(), "steps": steps}
    torch.save(saved, work / "model.pt")


if __name__ == "__main__":
    main()
