"""The model out: one folder with program, weights, encoders and calibration, and its scores.

    model_folder.py   what lies in the folder, and that it is as it was written
    model.py          `load`: a model that scores raw rows
    encoding.py       raw rows to the program's arrays, in log_encoding.py and builder_encoding.py
    scores.py         logits to calibrated probabilities in every space
    write/            the training side: a finished run becomes a model

What loads and scores needs no training code: jax, numpy, polars, pyarrow and safetensors.
"""

from dtn_jax.export.model import Model, load

__all__ = ["Model", "load"]
