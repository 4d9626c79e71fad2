"""The program of a model: read once, compiled for a few batch sizes, called with padded batches."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping

import jax
import numpy as np
from jax import export

from dtn_jax.errors import UserError
from dtn_jax.export.age import ANEW, told
from dtn_jax.export.model_folder import PROGRAM

EMBEDDING, SCALE = "tables/embedding", ".scale"  # SCALE ends the name of a table's scales
CALLS = re.compile(r"custom_call @([\w.$-]+)")
HARMLESS = ("shape_assertion", "Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape")


class Program:
    """A forward pass for any number of rows.

    Attributes:
      weights, inputs: {name: its shape, some of whose numbers are symbols, and dtype}.
      tasks: T, of the logits.
    """

    def __init__(self, exported: export.Exported):
        (self.weights, self.inputs), _ = jax.tree.unflatten(exported.in_tree, exported.in_avals)
        (out,) = exported.out_avals
        self.tasks = out.shape[1]
        self._call = jax.jit(exported.call)  # which compiles once for each batch size

    def call(self, weights: Mapping, inputs: Mapping) -> jax.Array:
        """The logits of a batch.

        Raises:
          UserError: the program can't be compiled, or the device has no room for the batch.
        """
        try:
            return self._call(weights, inputs)
        except Exception as error:  # of several libraries, each with its own classes
            raise UserError(f"{PROGRAM} can't be run: {_first_line(error)}") from error

    def check(self, weights: Mapping[str, np.ndarray]) -> None:
        """Raises ValueError unless these are the weights that the program reads."""
        for name, wanted in self.weights.items():
            if name not in weights:
                raise ValueError(f"there are no weights {name!r}")
            got = weights[name]
            shape = tuple(n for n in got.shape)
            fits = len(shape) == len(wanted.shape) and all(
                not isinstance(w, int) or w == n for w, n in zip(wanted.shape, shape)
            )
            if not fits or got.dtype != wanted.dtype:
                raise ValueError(
                    f"weights {name!r} are {got.dtype}{list(shape)}, the program reads "
                    f"{wanted.dtype}{list(map(str, wanted.shape))}"
                )


def read_program(folder: pathlib.Path, manifest: Mapping) -> Program:
    """The program of a model.

    Raises:
      UserError: it is damaged, runs code of its host, or is too old for this version of JAX.
    """
    path = folder / PROGRAM
    try:
        exported = export.deserialize(bytearray(path.read_bytes()))
        text = exported.mlir_module()
        program = Program(exported)
        if set(program.inputs) != {"ids", "rows", "weights", "numeric"} or program.tasks < 1:
            raise ValueError(f"its inputs are {', '.join(map(str, program.inputs))}")
    except Exception as error:  # of several libraries, each with its own classes
        raise UserError(
            f"{path} can't be read ({_first_line(error)}). {told(manifest)}. {ANEW}"
        ) from None
    others = sorted(set(CALLS.findall(text)) - set(HARMLESS))
    if others:
        raise UserError(f"{path} calls functions of the machine ({others[0]}), so it is not run")
    platform = jax.default_backend()
    here = {"gpu": "cuda"}.get(platform, platform)
    if here not in exported.platforms:
        raise UserError(
            f"{path} was made for {', '.join(exported.platforms)}; JAX runs on {here} here. Set "
            f"JAX_PLATFORMS=cpu to score on the CPU"
        )
    return program


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
