"""How the demo model was made: speech, network, training, export, evaluation.

Not part of a running worker. `network`, `train` and `export` need torch and onnx, which are not
in the lock; the rest runs with what the worker has. The steps are in `../models/demo/README.md`.
"""
