"""The 64-bit key of a categorical value: the same in every file format, process and version.

A whole number of 64 bits has a bijection of it as its key, so two numbers never share one. Its text
has the same key, and so have a float that is whole and its text (5, '5', 5.0, '5.0'): an id is the
same id in Parquet, where it is a number, and in CSV, where it is a text. A float that is large or
small is the same in each way to write it (10**16, 1e16, '1e+16'). True and 'true' are 1, and False
and 'False' are 0. Other values go by a hash of their text's bytes; with 10^8 texts, two of them
share a key in one of 3,700 data sets.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from dtn_jax.shapes import Bool, Int64, UInt64

MISSING = np.uint64(0)  # stands for the key of a missing value, where it must have one
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: far from any pattern of ids
TEXTS = np.uint64(0xD1B54A32D192ED03)  # apart from whole numbers
FRACTION = r"^(-?[0-9]+)\.0+$"  # and of a float that is one
POWER = r"^-?[1-9](?:\.[0-9]+)?[eE][+-]?[0-9]+$"  # of a float
SMALL, LARGE = 1e-3, 2.0**53  # between them, nobody writes floats so: 1e5 is an id of hex digits
ODD = rf"{FRACTION}|{POWER}|^(?:true|false|True|TRUE|False|FALSE)$"
WORDS = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}
TRUTHS = {word: str(int(WORDS.get(word, word) == "true")) for word in ("true", "false", *WORDS)}


def mixed(numbers: UInt64[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    """A bijection of 64 bits in which every input bit flips every output bit half of the time.

    SplitMix64's (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").
    """
    x = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def keys(column: pl.Series) -> tuple[UInt64[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
    """The key of each value, and which values are there; a missing one's key means nothing.

    Missing are nulls and NaN. Numbers, texts, booleans and times have keys; a list has none.
    """
    dtype, there = column.dtype, _there(column)
    if dtype == pl.Null:
        return np.zeros(len(column), np.uint64), there
    if dtype.is_float():
        there &= ~np.isnan(column.cast(pl.Float64).fill_null(np.nan).to_numpy())
        whole = column.set(column != column.floor(), None).cast(pl.Int64, strict=False)
    elif dtype.is_integer() or dtype == pl.Boolean:
        whole = column.cast(pl.Int64, strict=False)  # beyond 64 bits with a sign a text
    else:
        column = text(column)
        whole = _whole(column)
    are_whole = _there(whole)
    rest = there & ~are_whole
    hashed = number_keys((whole if are_whole.all() else whole.fill_null(0)).to_numpy())
    if rest.any():
        hashed = hashed.copy()
        hashed[rest] = _other_keys(text(column.filter(pl.Series(rest))))
    return hashed, there


def _there(column: pl.Series) -> Bool[np.ndarray, " B"]:
    if column.null_count():
        return column.is_not_null().to_numpy()
    return np.ones(len(column), bool)


def _other_keys(texts: pl.Series) -> UInt64[np.ndarray, " B"]:
    """Of texts as few write numbers."""
    plain = plain_texts(texts)
    hashed = text_keys(plain)
    if plain is texts:
        return hashed
    whole = _whole(plain)
    numbers = number_keys(whole.fill_null(0).to_numpy())
    return np.where(whole.is_null().to_numpy(), hashed, numbers)


def text(column: pl.Series) -> pl.Series:
    """The one text of each value: NaN has none, a whole float no fraction, a time no fraction of
    0."""
    dtype = column.dtype
    if dtype.is_float():
        whole = column.set(column != column.floor(), None).cast(pl.Int128, strict=False)
        texts, rest = whole.cast(pl.String), column.fill_nan(None).cast(pl.String)
        return texts.zip_with(texts.is_not_null(), rest)
    texts = column.cast(pl.String, strict=False)
    return texts.str.replace(r"\.0+$", "") if dtype == pl.Datetime else texts


def plain_texts(texts: pl.Series) -> pl.Series:
    """Texts of numbers and truths as `text` writes them, '5.0' is '5', and 'True' as '1'."""
    odd = texts.str.contains(ODD).fill_null(False)
    if not odd.any():
        return texts
    plain = texts.filter(odd).str.replace(FRACTION, "$1").replace(TRUTHS)
    floats = plain.cast(pl.Float64, strict=False)
    written = plain.str.contains(POWER) & ~floats.abs().is_between(SMALL, LARGE, closed="left")
    return texts.clone().scatter(odd.arg_true(), plain.zip_with(~written, text(floats)))


def numbers(texts: pl.Series) -> pl.Series:
    """The numbers that texts say as float64, null where one says none; 'true' is 1."""
    floats = texts.cast(pl.Float64, strict=False)
    rest = texts.is_not_null() & floats.is_null()
    if not rest.any():
        return floats
    truths = texts.filter(rest).replace(TRUTHS).cast(pl.Float64, strict=False)
    return floats.scatter(rest.arg_true(), truths)


def _whole(texts: pl.Series) -> pl.Series:
    """The whole numbers that texts say, null where one says none."""
    whole = texts.cast(pl.Int64, strict=False)
    return whole.set(whole.cast(pl.String) != texts, None)  # 007 and +5 are texts


def numbers_of(hashed: UInt64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
    """The whole numbers that have these keys: `number_keys` backwards."""
    x = hashed ^ (hashed >> np.uint64(31)) ^ (hashed >> np.uint64(62))
    x = x * np.uint64(0x319642B2D24D8EC3)  # times the constants of `mixed`, 1 mod 2^64
    x = x ^ (x >> np.uint64(27)) ^ (x >> np.uint64(54))
    x = x * np.uint64(0x96DE1B173F119089)
    x = x ^ (x >> np.uint64(30)) ^ (x >> np.uint64(60))
    return (x - GOLDEN).view(np.int64)


def group_numbers(hashed: UInt64[np.ndarray, " B"], column: pl.Series) -> Int64[np.ndarray, " B"]:
    """Of values and their keys: whole numbers, as texts and floats too, as they are, else the bits
    of the key.

    So a user is the same one in files that hold the column as numbers and in others.
    """
    numbers = numbers_of(hashed)
    shown = plain_texts(text(column))
    same = shown == pl.Series(numbers).cast(pl.String)
    return np.where(same.fill_null(False).to_numpy(), numbers, hashed.view(np.int64))


def number_keys(numbers: Int64[np.ndarray, " B"]) -> UInt64[np.ndarray, " B"]:
    return mixed(numbers.view(np.uint64) + GOLDEN)


def text_keys(texts: pl.Series) -> UInt64[np.ndarray, " B"]:
    """A hash of the bytes of each text, eight bytes at a time."""
    array = texts.rename("").to_arrow().cast("large_string")  # Arrow takes no NUL in a name
    _, offsets, data = array.buffers()
    offsets = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    size = int(offsets[-1]) if len(offsets) else 0
    padded = np.zeros(size + 16, np.uint8)
    if size:
        padded[:size] = np.frombuffer(data, np.uint8)[:size]
    # One 64-bit number from each byte on; no copy is made of it.
    words = np.ndarray((size + 8,), "<u8", buffer=padded, strides=(1,))
    starts, lengths = offsets[:-1], np.diff(offsets)
    hashed = mixed(lengths.astype(np.uint64) + TEXTS)
    every = np.arange(len(hashed))
    for word in range(int(-(-lengths.max(initial=0) // 8))):
        every = every[lengths[every] > 8 * word]  # those that have so many bytes
        left = np.minimum(lengths[every] - 8 * word, 8).astype(np.uint64)
        part = words[starts[every] + 8 * word] & _MASKS[left]
        hashed[every] = mixed((hashed[every] ^ part) * GOLDEN + GOLDEN)
    return hashed


_SEEDS = mixed(np.arange(1, 9, dtype=np.uint64) * GOLDEN)  # of the hash functions
_MASKS = np.array([(1 << (8 * n)) - 1 for n in range(9)], np.uint64)  # of the first n bytes


def crossed(a: UInt64[np.ndarray, " B"], b: UInt64[np.ndarray, " B"]) -> UInt64[np.ndarray, " B"]:
    """The key of a pair of values; (a, b) is not (b, a)."""
    return mixed(a * GOLDEN + mixed(b))


def hashed_rows(
    hashed: UInt64[np.ndarray, " B"], size: int, function: int
) -> UInt64[np.ndarray, " B"]:
    """A number from 0 to `size` - 1 for each key, by one of several independent hash functions."""
    return mixed(hashed + _SEEDS[function]) % np.uint64(size)


def drawn(hashed: UInt64[np.ndarray, " B"], seed: int) -> np.ndarray:
    """A number in [0, 1) for each key, float64 `[B]`: the same at each call."""
    bits = mixed(hashed ^ mixed(np.array([seed], np.uint64) + GOLDEN))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
