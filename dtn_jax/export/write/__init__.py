"""A finished run becomes a model: the training side. What loads a model needs nothing of it.

    model.py      the story: all files of a folder
    trained.py    finished runs, and the weights of their best states
    program.py    the forward pass as StableHLO, its weights as safetensors
    encoders.py   raw values to rows, and values of fields that only training knows
    measure.py    what the files score on validation and test
    card.py       README.md: what a model is, on what it was measured, and its limits
    again.py      the program of a folder, made again, or for ONNX Runtime

`export_run` and `make_again` are what others call.
"""

from dtn_jax.export.write.again import make_again
from dtn_jax.export.write.model import export_run

__all__ = ["export_run", "make_again"]
