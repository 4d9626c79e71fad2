"""The model out: one folder with program, weights, encoders and calibration, and its scores.

    model_folder.py   what lies in the folder, and that it is as it was written
    model.py          `load`: a model that scores raw rows, its program and its weights
    encoding.py       raw rows to the program's arrays
    calibration.py    logits to calibrated probabilities in every space
    ranking.py        one ranking score of several tasks
    score_files.py    files of any size, and score_columns.py, their columns
    serve/            scores over HTTP
    write/            the training side: a finished run becomes a model

What loads and scores needs no training code: jax, numpy, polars, pyarrow, safetensors and
flatbuffers.
"""

from dtn_jax.errors import TO_SCORE

try:
    from dtn_jax.export.model import Model, load
except ModuleNotFoundError as error:
    if str(error.name).startswith("dtn_jax"):
        raise
    why = f"dtn_jax.export needs {error.name}, which is not installed: {TO_SCORE}"
    raise ModuleNotFoundError(why, name=error.name) from None

__all__ = ["Model", "load"]
