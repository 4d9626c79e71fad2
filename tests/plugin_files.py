"""Texts of plug-ins, and what the tests of plug-ins share; no test is in here."""

import pathlib

from dtn_jax.config import plugins

EXAMPLE = pathlib.Path(__file__).parent / "plugin.py"
IMPORTS = """
import dataclasses
from typing import Any
from flax import linen as nn
from dtn_jax.data.sets.data_set import DataSet
from dtn_jax.models.architectures import ARCHITECTURES as OURS, Architecture, DTN, MMoE
from dtn_jax.options import option
"""
HEADS = """
class Heads(Architecture):
    count: int = option(2, "projections a task", least=1)

    @classmethod
    def layout(cls, schema, own):
        return (("shared",),)

    def __call__(self, inputs, train):
        raise TypeError("no model yet")

ARCHITECTURES = {"heads": Heads}
"""


def writer(folder: pathlib.Path):
    """(text, name) -> the file of a plug-in in a folder, with this text after IMPORTS."""

    def write(text: str, name: str = "mine.py") -> pathlib.Path:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(IMPORTS + text)
        return path

    return write


def names() -> dict[str, dict]:
    return {name: dict(kind.members) for name, kind in plugins.KINDS.items()}
