"""A model's program as ONNX, by jax2onnx, which needs an environment of its own: `make onnx`.

Its weights are within the file. The batch has a fixed size, because jax2onnx (0.17) converts some
operations only where all shapes are known.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun

from dtn_jax.errors import UserError
from dtn_jax.export import model_folder
from dtn_jax.export.compiled import Program, read_program
from dtn_jax.export.weights_file import read_weights
from dtn_jax.export.write.again import config_of, forward_of
from dtn_jax.export.write.program import Forward, Shapes, inputs_of
from dtn_jax.field import SEVERAL
from dtn_jax.shared_files import replacing

LARGEST = (1 << 31) - (16 << 20)  # bytes of weights: an ONNX file has at most 2 GiB
CLOSE = 1e-5  # by which its logits may differ from the program's, relative to the largest
OUTPUT = "logits"


def write_onnx(
    model: str | pathlib.Path,
    out: str | pathlib.Path,
    batch_size: int,
    plugins: str = "",
    say: Callable[[str], None] = print,
) -> float:
    """Writes the program of a model's folder as ONNX: `ids, rows, weights, numeric -> logits`.

    Inputs that the model has none of, as weights of bags, are no inputs of the file. The file is
    written only if ONNX Runtime gives the program's logits on random rows.

    Args:
      model: the folder.
      out: the file.
      batch_size: of the file's inputs.
      plugins: see `make_again`.
      say: is told what is being done.

    Returns:
      By how much a logit differed at most.

    Raises:
      UserError: jax2onnx is not there, the folder is damaged, or its weights are too many for ONNX;
        or the logits differ.
    """
    onnxruntime, to_onnx = _converter()
    folder, out = (pathlib.Path(path).expanduser().absolute() for path in (model, out))
    manifest = model_folder.read_manifest(folder)
    facts, schema = model_folder.read_facts(folder), model_folder.read_schema(folder)
    forward = forward_of(config_of(folder, facts, manifest, plugins), facts, schema)
    stored = read_weights(folder / model_folder.WEIGHTS)
    if (size := sum(array.nbytes for array in stored.values())) > LARGEST:
        raise UserError(f"{folder} has {size:,} bytes of weights; an ONNX file holds {LARGEST:,}")
    weights = {name: jnp.asarray(array) for name, array in stored.items()}
    every = inputs_of(forward.plan, batch_size)
    shapes = {n: s for n, s in every.items() if s.size}
    say(f"Converting {folder} to ONNX, in batches of {batch_size:,}")
    with replacing(out) as temporary:
        to_onnx(
            _traced(forward, weights, every),
            list(shapes.values()),
            return_mode="file",
            output_path=str(temporary),
            input_names=list(shapes),
            output_names=[OUTPUT],
        )
        given = random_inputs(forward, batch_size)
        session = onnxruntime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"])
        (got,) = session.run([OUTPUT], {name: given[name] for name in shapes})
        error = _difference(read_program(folder, manifest), weights, given, got)
        if not error <= CLOSE:
            temporary.unlink()
            raise UserError(
                f"ONNX Runtime's logits are off by {error:.2g}, expected at most {CLOSE}"
            )
    say(f"{out}: its logits differ from the program's by at most {error:.2g} of the largest")
    return error


def _converter() -> tuple[Any, Callable]:
    """The module of ONNX Runtime, and jax2onnx's function."""
    try:
        import onnxruntime
        from jax2onnx import to_onnx
    except ImportError as error:
        raise UserError(
            f"ONNX needs jax2onnx and onnxruntime ({error}), in an environment of their own: "
            "`make onnx`, then .venv-onnx/bin/dtn-jax export --onnx=…"
        ) from None
    return onnxruntime, to_onnx


def _traced(forward: Forward, weights: Mapping[str, jax.Array], every: Shapes) -> Callable:
    """The program as a function of those of its inputs that are not empty.

    It is a jaxpr: else jax2onnx puts its own operations in the place of many of JAX's and Flax's,
    and these do not go with all models.
    """
    shapes = {name: shape for name, shape in every.items() if shape.size}
    nothing = {name: jnp.zeros(shape.shape, shape.dtype) for name, shape in every.items()}

    def program(*inputs: jax.Array) -> jax.Array:
        return forward(weights, {**nothing, **dict(zip(shapes, inputs))})

    traced = jaxpr_as_fun(jax.make_jaxpr(program)(*shapes.values()))
    return lambda *inputs: traced(*inputs)[0]


def random_inputs(forward: Forward, rows: int) -> dict[str, np.ndarray]:
    """Inputs of a program: ids within their tables, some padding, random numbers."""
    rng, schema = np.random.default_rng(0), forward.plan.schema
    limits = np.asarray([field.rows for field in schema.slot_fields()])
    ids = rng.integers(0, limits, (rows, schema.slots)).astype(np.int32)
    bags = np.asarray([field.kind in SEVERAL for field in schema.slot_fields()])
    ids[bags[None] & (rng.random(ids.shape) < 0.5)] = -1
    at = np.where(ids[:, None] < 0, forward.plan.rows, ids[:, None] + forward.plan.offsets)
    return {
        "ids": ids,
        "rows": at.astype(np.int32),
        "weights": rng.random((rows, schema.weighted_slots)).astype(np.float32),
        "numeric": rng.normal(size=(rows, schema.numbers)).astype(np.float32),
    }


def _difference(program: Program, weights: dict, given: dict, got: np.ndarray) -> float:
    """The largest difference of logits from those of the program, over the largest logit."""
    expected = np.asarray(program.call({name: weights[name] for name in program.weights}, given))
    return float(np.abs(got - expected).max() / max(1.0, np.abs(expected).max()))
