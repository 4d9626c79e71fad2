"""Names for the types and shapes of arrays, in what runs where a model is served.

They are jaxtyping's. A service has no need of it: there the names say what they say to a reader,
and nothing checks them.
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
        Shaped,
        UInt8,
        UInt64,
    )
except ImportError:

    class Shaped:
        """Stands for each of jaxtyping's names: it takes an array's type and its shape."""

        def __class_getitem__(cls, item: tuple) -> type:
            return cls

    Bool = Float = Float32 = Float64 = Int = Int8 = Int32 = Int64 = Integer = Shaped
    UInt8 = UInt64 = Shaped

__all__ = [
    "Bool",
    "Float",
    "Float32",
    "Float64",
    "Int",
    "Int8",
    "Int32",
    "Int64",
    "Integer",
    "Shaped",
    "UInt8",
    "UInt64",
]
