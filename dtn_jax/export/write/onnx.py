"""A model's program as ONNX, by jax2onnx, which needs an environment of its own: `make onnx`.

Its weights are within the file. Its batch may have any size, unless one is asked for, or jax2onnx
(0.17) converts an operation of the model only where all shapes are known.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.export import symbolic_shape
from jax.extend.core import jaxpr_as_fun

from dtn_jax.errors import UserError
from dtn_jax.export import model_folder
from dtn_jax.export.compiled import read_program, read_weights
from dtn_jax.export.write.again import read_forward
from dtn_jax.export.write.program import Forward, inputs_of
from dtn_jax.field import SEVERAL
from dtn_jax.files import replacing

LARGEST = (1 << 31) - (16 << 20)  # bytes of weights: an ONNX file has at most 2 GiB
CLOSE = 1e-5  # by which its logits may differ from the program's, relative to the largest
BATCH = 1024  # rows of a batch where any size cannot be had
TRIED = (64, 7)  # rows with which a file for any size is tried
OUTPUT = "logits"


def write_onnx(
    model: str | pathlib.Path,
    out: str | pathlib.Path,
    batch_size: int = 0,
    plugins: str = "",
    say: Callable[[str], None] = print,
) -> float:
    """Writes the program of a model's folder as ONNX: `ids, rows, weights, numeric -> logits`.

    Inputs that the model has none of, as weights of bags, are no inputs of the file. The file is
    written only if ONNX Runtime gives the program's logits on random rows.

    Args:
      model: the folder.
      out: the file.
      batch_size: of the file's inputs; 0 for any, or BATCH where that cannot be had.
      plugins: see `make_again`.
      say: is told what is being done.

    Returns:
      By how much a logit differed at most, over the largest.

    Raises:
      UserError: jax2onnx is not there, the folder is damaged, or its weights are too many for ONNX;
        or the logits differ.
    """
    try:
        import onnxruntime
        from jax2onnx import to_onnx
    except ImportError as error:
        raise UserError(
            f"ONNX needs jax2onnx and onnxruntime ({error}), in an environment of their own: "
            "`make onnx`, then .venv-onnx/bin/dtn-jax export --onnx=…"
        ) from None
    folder, out = (pathlib.Path(path).expanduser().absolute() for path in (model, out))
    manifest, forward = read_forward(folder, plugins)
    stored = read_weights(folder / model_folder.WEIGHTS)
    if (size := sum(array.nbytes for array in stored.values())) > LARGEST:
        raise UserError(f"{folder} has {size:,} bytes of weights; an ONNX file holds {LARGEST:,}")
    weights = {name: jnp.asarray(array) for name, array in stored.items()}
    program = read_program(folder, manifest)

    def convert(path: pathlib.Path, batch: Any, tried: tuple[int, ...]) -> float:
        """Writes the file; returns by how much its logits are off, on batches of these sizes."""
        every = inputs_of(forward.plan, batch)
        shapes = {name: shape for name, shape in every.items() if 0 not in shape.shape[1:]}
        to_onnx(
            _traced(forward, weights, every, tuple(shapes)),
            list(shapes.values()),
            return_mode="file",
            output_path=str(path),
            input_names=list(shapes),
            output_names=[OUTPUT],
        )
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        errors = []
        for rows in tried:
            given = random_inputs(forward, rows)
            (got,) = session.run([OUTPUT], {name: given[name] for name in shapes})
            known = {name: weights[name] for name in program.weights}
            expected = np.asarray(program.call(known, given))
            errors.append(np.abs(got - expected).max() / max(1.0, np.abs(expected).max()))
        return float(max(errors))

    with replacing(out) as path:
        error, sizes = np.inf, "any size"
        if not batch_size:
            say(f"Converting {folder} to ONNX, in batches of any size")
            try:
                error = convert(path, symbolic_shape("B")[0], TRIED)
            except Exception as raised:  # of jax2onnx, ONNX Runtime or JAX
                reason = (str(raised).strip() or type(raised).__name__).splitlines()[0][:200]
                say(f"jax2onnx cannot convert it for any size ({reason})")
        if not error <= CLOSE:
            size = batch_size or BATCH
            say(f"Converting {folder} to ONNX, in batches of {size:,}")
            error, sizes = convert(path, size, (size,)), f"{size:,} rows: pad the last one"
        if not error <= CLOSE:
            raise UserError(
                f"ONNX Runtime's logits are off by {error:.2g}, expected at most {CLOSE}"
            )
    say(
        f"{out}: its logits differ from the program's by at most {error:.2g} of the largest; its "
        f"batches have {sizes}"
    )
    return error


def _traced(forward: Forward, weights: dict, every: dict, names: tuple[str, ...]) -> Callable:
    """The program as a function of the inputs of these names; the others are empty.

    It is a jaxpr: else jax2onnx puts its own operations in the place of many of JAX's and Flax's,
    and these do not go with all models.
    """

    def program(*inputs: jax.Array) -> jax.Array:
        rows = inputs[0].shape[0]
        empty = {name: jnp.zeros((rows, 0), every[name].dtype) for name in every}
        return forward(weights, empty | dict(zip(names, inputs)))

    traced = jaxpr_as_fun(jax.make_jaxpr(program)(*(every[name] for name in names)))
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
