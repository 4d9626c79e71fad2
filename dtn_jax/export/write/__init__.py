"""A finished run becomes a model: the training side. What loads a model needs nothing of it.

    model.py      the story: all files of a folder, of finished runs; its card
    program.py    the forward pass as StableHLO, its weights as safetensors
    again.py      the program of a folder, made again, or for ONNX Runtime

`export_run` and `make_again` are what others call.
"""

from dtn_jax.export.write.again import make_again
from dtn_jax.export.write.model import export_run

__all__ = ["export_run", "make_again"]
