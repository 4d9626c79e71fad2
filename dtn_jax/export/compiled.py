"""The program of a model: read once, compiled for a few batch sizes, called with padded batches.

StableHLO is read for six months by later versions of JAX, so a model says how old its program is.
"""

from __future__ import annotations

import datetime
import pathlib
import re
import warnings
from collections.abc import Mapping

import jax
from jax import export

from dtn_jax.errors import UserError
from dtn_jax.export.model_folder import PROGRAM

EMBEDDING, SCALE = "tables/embedding", ".scale"  # SCALE ends the name of a table's scales
INPUTS = {"ids", "rows", "weights", "numeric"}
CALLS = re.compile(r"custom_call @([\w.$-]+)")
HARMLESS = {"shape_assertion", "Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape"}
GUARANTEED = 180  # days in which a later JAX reads a program
EARLY = 30  # days before that, in which it is told
ANEW = "Make it anew from the folder alone: dtn-jax export --again MODEL"


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


def read_program(folder: pathlib.Path, manifest: Mapping) -> Program:
    """The program of a model; warns in time that later versions of JAX will not read it.

    Raises:
      UserError: it is damaged, runs code of its host, or is too old for this version of JAX.
    """
    path, (age, days) = folder / PROGRAM, _age(manifest)
    try:
        exported = export.deserialize(bytearray(path.read_bytes()))
        others = sorted(set(CALLS.findall(exported.mlir_module())) - HARMLESS)
        program = Program(exported)
        if set(program.inputs) != INPUTS or program.tasks < 1:
            raise ValueError(f"its inputs are {', '.join(map(str, program.inputs))}")
    except Exception as error:  # of several libraries, each with its own classes
        raise UserError(f"{path} can't be read ({_first_line(error)}). {age}. {ANEW}") from None
    if others:
        raise UserError(f"{path} calls functions of the machine ({others[0]}), so it is not run")
    if days > GUARANTEED - EARLY:
        told = f"{age}. JAX reads programs for {GUARANTEED} days, and may refuse older ones. {ANEW}"
        warnings.warn(told, stacklevel=3)
    return program


def _age(manifest: Mapping) -> tuple[str, float]:
    """When, and with which JAX, the program was made, and which JAX is here; and days since then,
    0 where the manifest does not say."""
    facts = manifest.get("program", {})
    by, when, days = facts.get("jax", "of an unknown version"), "at an unknown time", 0.0
    if "made" in facts:
        made = datetime.datetime.fromisoformat(facts["made"])
        days = (datetime.datetime.now(datetime.UTC) - made).total_seconds() / 86400
        when = f"{days:.0f} days ago"
    return f"The program was made {when} by JAX {by}; this is JAX {jax.__version__}", days


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
