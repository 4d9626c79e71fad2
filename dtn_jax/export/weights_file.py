"""Reads weights.safetensors without copying it: its arrays are views of the mapped file."""

from __future__ import annotations

import math
import pathlib

import numpy as np
from jax import numpy as jnp
from safetensors import SafetensorError, safe_open

from dtn_jax.errors import UserError
from dtn_jax.export.model_folder import AGAIN

DTYPES = {  # names in the file: of numpy
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U32": "uint32",
    "U8": "uint8",
    "BOOL": "bool",
}


def read_weights(path: pathlib.Path) -> dict[str, np.ndarray]:
    """{name: array}, in memory only as far as they are looked at.

    Raises:
      UserError: the file is missing or damaged.
    """
    try:
        with safe_open(path, "numpy") as file:  # which checks sizes, offsets, and that none overlap
            names = list(file.offset_keys())
            slices = {name: file.get_slice(name) for name in names}
            found = {n: (DTYPES[s.get_dtype()], tuple(s.get_shape())) for n, s in slices.items()}
        with path.open("rb") as file:
            start = 8 + int.from_bytes(file.read(8), "little")
        raw = np.memmap(path, np.uint8, "r")
    except KeyError as error:
        raise UserError(f"{path} has an array of the unknown type {error}; {AGAIN}") from None
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{path} is missing or damaged ({error}); {AGAIN}") from None
    weights = {}
    for name, (kind, shape) in found.items():  # in the order of the file, without gaps
        dtype = jnp.dtype(kind)
        stop = start + math.prod(shape) * dtype.itemsize
        weights[name] = np.asarray(raw[start:stop]).view(dtype).reshape(shape)
        start = stop
    return weights
