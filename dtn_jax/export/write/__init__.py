"""A finished run becomes a model: the training side. What loads a model needs nothing of it.

    model.py                the story: all files of a folder
    trained.py              finished runs, and the weights of their best states
    program.py              the forward pass as StableHLO
    weights.py              weights.safetensors, piece by piece
    encoder_files.py        raw values to rows, from the prepared set
    split_scores.py         what the files score on validation, for calibration and the card
    derived_calibration.py  what calibration does to outputs that follow from several tasks
    card/                   card.md: what a model is, on what it was measured, and its limits
    fixed.py                the values of fields that only training knows
    described.py            what the folder says of itself
    new_folder.py           the folder appears whole, or not at all
    again.py                the program of a folder, made anew

`export_run` and `make_again` are what others call.
"""

from dtn_jax.export.write.again import make_again
from dtn_jax.export.write.model import export_run

__all__ = ["export_run", "make_again"]
