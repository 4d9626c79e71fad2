"""Plug-ins that tests write: a small one, and fixtures that write it or see it refused."""

import pathlib

import pytest

from dtn_jax.config import (
    plugins,
)

EXAMPLE = pathlib.Path(__file__).parent / "plugin.py"
IMPORTS = """
import dataclasses
from typing import Any
from flax import linen as nn
from dtn_jax.datasets.preparation.builder import BlockBuilder
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


@pytest.fixture
def write(tmp_path):
    """Writes a plug-in; returns its file."""

    def written(text: str, name: str = "mine.py") -> pathlib.Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(IMPORTS + text)
        return path

    return written


def names() -> dict[str, dict]:
    return {name: dict(kind.known) for name, kind in plugins.KINDS.items()}
