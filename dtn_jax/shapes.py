"""Names for the types and shapes of arrays: jaxtyping's, which the tests check.

Where it is not installed, as where a model is served or on a bare accelerator, they say what they
say to a reader, and nothing checks them.
"""

from __future__ import annotations

try:
    from jaxtyping import (
        Bool,
        Float,
        Float32,
        Float64,
        Int,
        Int8,
        Int32,
        Int64,
        Integer,
        Num,
        Shaped,
        UInt,
        UInt8,
        UInt32,
        UInt64,
    )
except ImportError:

    class Shaped:
        """Stands for each of jaxtyping's names: it takes an array's type and its shape."""

        def __class_getitem__(cls, item: tuple) -> type:
            return cls

    Bool = Float = Float32 = Float64 = Int = Int8 = Int32 = Int64 = Integer = Shaped
    Num = UInt = UInt8 = UInt32 = UInt64 = Shaped


def __getattr__(name: str) -> type:
    """`Array` alone brings JAX, which schemas and encoders do without."""
    if name != "Array":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from jaxtyping import Array
    except ImportError:
        return Shaped
    return Array
