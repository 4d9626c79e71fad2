"""The field that a column can be, by its type, its values and its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from dtn_jax.datasets.logs.infer import columns, names
from dtn_jax.datasets.logs.infer.columns import FEW, Column
from dtn_jax.datasets.logs.infer.draft import FieldDraft, percent, quoted, shown
from dtn_jax.datasets.logs.times import is_date
from dtn_jax.shapes import Float64

SMALL = 20  # different values: so few are categories, whatever the numbers mean
UNIQUE = 0.95  # different values by known ones
UNIQUE_ROWS = 200  # with fewer rows, nothing is called nearly unique
RARE = (10, 5, 2)  # the values of min_count that are tried
LOST = 0.1  # share of the rows whose values min_count may make unknown
PROSE = 4.0  # words of a text, on average: a category has fewer
KEPT = 50  # values that a bag keeps unless its options say another number
WEIGHTS = {"weight", "weights", "score", "scores", "prob", "probs", "probability", "strength"}
SHARED = 100  # different values from which a bag may share a table by its values alone
ALIKE = 0.8  # of a bag's values, those that the other column has too
TIMES = "times are no categories: those of test are never in train"


def single(column: Column, whole: bool) -> FieldDraft:
    """The field of a column of single values, from a sample that is the `whole` log or not."""
    numeric = is_numeric(column)
    if column.raw.dtype == pl.String and not numeric:
        column = columns.column(column.raw, as_is=True)  # '1.0' is another than '1'
    field = FieldDraft(column.name, facts=facts(column))
    if column.distinct == 0:
        field.leave_out("always missing")
    elif column.distinct == 1 and not column.missing:
        field.leave_out(f"constant: always {shown(column.different[0])}")
    elif column.values.dtype == pl.Duration:
        field.leave_out("spans of time cannot be read: write them as numbers of seconds")
    elif is_date(column.values.dtype):
        field.leave_out(TIMES)
    elif numeric:
        field.options |= {"kind": "numeric"} | ({"log": "true"} if is_skewed(column) else {})
        if column.infinite > FEW:
            field.leave_out(
                f"{percent(column.infinite)} of its numbers are infinite, and such rows are "
                "rejected: write missing values for them"
            )
    else:
        _categorical(field, column, whole)
    if names.is_place(column.name):
        field.notes.append(
            "where a row is shown is not known when it is scored: scored_as: 1 trains with it and "
            "scores each row as if it stood there; scored_as: null takes the unknown id"
        )
    return field


def is_numeric(column: Column) -> bool:
    """Whether numbers are quantities, not names of things.

    Fractions are. Whole numbers with more than SMALL different values are where the name says so
    (price, count, *_ms), where there are negative and positive ones in a moderate range, and where
    a column of floats has no missing value: pandas makes floats of ids only where some are missing.
    """
    if column.kind != "number" or column.distinct <= 1:
        return False
    is_id = names.is_id(column.name)
    if not column.is_whole:
        return column.raw.dtype != pl.String or not is_id  # version '1.1' is none
    if column.distinct <= SMALL or is_id:
        return False
    least, most = column.values.min(), column.values.max()
    if names.is_quantity(column.name) or (least < 0 < most and max(-least, most) < 1e9):
        return True
    return column.raw.dtype.is_float() and not column.missing and not names.is_entity(column.name)


def is_skewed(column: Column) -> bool:
    """Whether numbers from 0 on are more even as logarithms."""
    x = column.numbers[np.isfinite(column.numbers)]
    if not len(x) or x.min() < 0 or x.max() == x.min():
        return False
    plain = _skewness(x / x.max())  # of a scale on which nothing overflows
    return plain > 2 and abs(_skewness(np.log1p(x))) < plain / 2


def _skewness(x: Float64[np.ndarray, " K"]) -> float:
    centred = x - x.mean()
    return float((centred**3).mean() / max((centred**2).mean() ** 1.5, 1e-300))


def _categorical(field: FieldDraft, column: Column, whole: bool) -> None:
    if column.stray:
        field.notes.append(f"a number but for a few values, such as {shown(column.stray)}")
    if column.known >= UNIQUE_ROWS and column.distinct > UNIQUE * column.known:
        told = f"{column.distinct:,} different values in {column.known:,} rows"
        if whole or not names.is_entity(column.name):
            field.leave_out(f"nearly unique: {told}")
            return
        field.notes.append(f"nearly unique in the sample: {told}")
    field.options |= min_count(column)
    if column.kind != "text":
        return
    texts = column.different.head(1000)
    words = texts.str.strip_chars().str.count_matches(r"\s+").mean() + 1
    parted = [
        f"lists, separated by {sign}"
        for sign in "|;,"
        if texts.str.contains(sign, literal=True).mean() > 0.5 and words < PROSE
    ]
    if texts.str.contains(r"^[\[{]").mean() > 0.9:
        parted = ["JSON"]
    for what in parted[:1]:
        field.notes.append(f"looks like {what}: as a list column (Parquet, JSON lines) it is a bag")
    if words >= PROSE and column.distinct > 0.5 * column.known and column.distinct > 100:
        field.leave_out(
            f"prose: {words:.0f} words a row, most rows different; a list column of its words is "
            "a bag, one of an embedding's numbers a vector"
        )


def min_count(column: Column) -> dict[str, int]:
    """{min_count: how often train must show a value for a row of the table}; {} is once.

    The largest of RARE for which more than half of the different values come less often in the
    sample while at most LOST of the rows have them; 2 where more than half come only once; once
    where there are at most 100 values.
    """
    if column.distinct <= 100:
        return {}
    for least in RARE:
        rare = column.counts < least
        if rare.mean() > 0.5 and column.counts[rare].sum() <= LOST * column.known:
            return {"min_count": least}
    return {"min_count": 2} if (column.counts < 2).mean() > 0.5 else {}


def facts(column: Column) -> str:
    """'4,998 different, most often 17, 4, 23; 3 % missing', '0.37 to 1,322, median 20.1', or 'lists
    of up to 5, median 2; 30 different: …'."""
    missing = f"; {percent(column.missing)} missing" if column.missing else ""
    lists = ""
    if column.is_list:
        known = column.lengths[column.lengths >= 0]
        if not len(known):
            return "always missing"
        if column.length and _is_fraction(column):
            return f"lists of {column.length} numbers{missing}"
        lists = f"lists of up to {int(known.max()):,}, median {int(np.median(known))}"
        if _is_fraction(column) or not column.distinct:
            return f"{lists}{', of numbers' if column.distinct else ''}{missing}"
    elif not column.distinct:
        return "always missing"
    elif is_numeric(column):
        known = column.values.cast(pl.Float64).drop_nulls()
        numbers = f"{shown(known.min())} to {shown(known.max())}, median {shown(known.median())}"
        return f"{'a quantity, ' * column.is_whole}{numbers}{missing}"
    examples = ", ".join(shown(value) for value in column.common())
    most = f", most often {examples}" if column.distinct > 3 else f": {examples}"
    return f"{lists}{'; ' * bool(lists)}{column.distinct:,} different{most}{missing}"


def of_lists(columns: Sequence[Column], singles: Mapping[str, Column]) -> dict[str, FieldDraft]:
    """The fields of list columns: bags, those with weights, and vectors.

    Args:
      columns: of lists.
      singles: {name: column} of single values, whose tables bags may share.
    """
    vectors = [c for c in columns if c.length and _is_fraction(c) and c.is_finite]
    vectors = [c for c in vectors if not _weighs(c) or not _partners(c, columns)]
    weights = _pairs([c for c in columns if c not in vectors])
    found = {}
    for c in columns:
        field = found[c.name] = FieldDraft(c.name, facts=facts(c))
        bags = [bag for bag, weight in weights.items() if weight == c.name]
        if not c.distinct:
            field.leave_out("no list has a value")
        elif c in vectors:
            field.options |= {"kind": "vector", "length": c.length}
        elif bags:
            field.leave_out(f"the weights of {bags[0]}")
        elif not _is_fraction(c):
            _bag(field, c, weights.get(c.name, ""), singles)
        elif not c.is_finite:
            field.leave_out(
                "some of its numbers are missing or infinite, and such rows are rejected"
            )
        else:
            known = c.lengths[c.lengths >= 0]
            usual = int(np.bincount(known).argmax())
            field.leave_out(
                f"numbers, {percent(float((known == usual).mean()))} of the lists with {usual}: no "
                "ids, and a vector's lists have one length"
            )
    return found


def _bag(field: FieldDraft, c: Column, weights: str, singles: Mapping[str, Column]) -> None:
    field.options |= {"kind": "bag"} | min_count(c)
    if weights:
        field.options["weights"] = quoted(weights)
        field.notes.append(f"{weights} has as many numbers in every row: the values' weights")
    longest = int(c.lengths.max())
    if longest > KEPT:
        field.options["max_values"] = KEPT
        cut = percent(float((c.lengths > KEPT).mean()))
        field.notes.append(f"max_values cuts {cut} of the lists, of up to {longest:,}")
    for twin in [name for name, other in singles.items() if _lists(c, other)][:1]:
        field.notes.append(
            f"its values are those of {twin}: with table: {quoted(twin)} (and the same min_count) "
            "they share embeddings; if the newest stand last, so they do with kind: sequence and "
            f"target: {quoted(twin)}, model.histories may weigh them by {twin}, and lists as long "
            f"stand beside them, such as actions, with kind: sequence and beside: {quoted(c.name)}"
        )


def _lists(c: Column, other: Column) -> bool:
    """Whether a bag lists the values of a column of single values, such as a history's items."""
    both = c.kind == other.kind in ("number", "text")
    if not both or other.distinct < SHARED or c.distinct <= 20:
        return False
    related = set(names.words(other.name)) & names.ENTITIES & _singular(c)
    items = other.different.cast(pl.String).implode()
    common = c.different.cast(pl.String).is_in(items).sum()
    return common >= ALIKE * c.distinct and bool(related or other.kind == "text")


def _is_fraction(c: Column) -> bool:
    """Whether numbers are not all whole."""
    return c.kind == "number" and not c.is_whole


def _singular(c: Column) -> set[str]:
    words = names.words(c.name)
    return {*words, *(word.removesuffix("s") for word in words)}


def _weighs(c: Column) -> bool:
    return bool(set(names.words(c.name)) & WEIGHTS)


def _partners(c: Column, columns: Sequence[Column]) -> list[Column]:
    """The other columns whose lists are as long in every row, and hold something else."""
    others = [other for other in columns if other is not c and not _is_fraction(other)]
    return [other for other in others if np.array_equal(other.lengths, c.lengths)]


def _pairs(columns: Sequence[Column]) -> dict[str, str]:
    """{bag: weights} of parallel lists: floats, or numbers that are weights by their name."""
    found: dict[str, str] = {}
    for c in sorted(columns, key=lambda c: not _weighs(c)):
        if not c.is_finite or not (_is_fraction(c) or _weighs(c)):
            continue
        partners = [o for o in _partners(c, columns) if o.distinct and not _weighs(o)]
        partners = [other for other in partners if other.name not in found]
        if partners:
            nearest = max(partners, key=lambda other: len(_singular(other) & _singular(c)))
            found[nearest.name] = c.name
    return found
