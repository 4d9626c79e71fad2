"""List columns: bags of ids, bags with weights, and vectors."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import polars as pl

from dtn_jax.datasets.logs.infer import names
from dtn_jax.datasets.logs.infer.columns import Column, column
from dtn_jax.datasets.logs.infer.draft import FieldDraft
from dtn_jax.datasets.logs.infer.kinds import min_count
from dtn_jax.datasets.logs.infer.words import percent, quoted, shown
from dtn_jax.shapes import Int

MOST = 1_000_000  # values of a column's lists that are looked at one by one
KEPT = 50  # values that a bag keeps unless its options say another number
WEIGHTS = {"weight", "weights", "score", "scores", "prob", "probs", "probability", "strength"}
SHARED = 100  # different values from which a bag may share a table by its values alone
ALIKE = 0.8  # of a bag's values, those that the other column has too


@dataclasses.dataclass(frozen=True)
class ListColumn:
    """A column of lists.

    Attributes:
      raw: as it was read.
    """

    raw: pl.Series

    @property
    def name(self) -> str:
        return self.raw.name

    @functools.cached_property
    def lengths(self) -> Int[np.ndarray, " R"]:
        """Values of each list; -1 is a missing list."""
        return self.raw.list.len().cast(pl.Int64).fill_null(-1).to_numpy()

    @functools.cached_property
    def items(self) -> Column:
        """The values of the lists, one list's after another's; of long ones, of every n-th list."""
        filled = self.raw.filter(self.raw.list.len() > 0)
        values = int(self.lengths[self.lengths > 0].sum())
        return column(filled.gather_every(-(-values // MOST) or 1).explode().alias(self.name))

    @property
    def missing(self) -> float:
        return self.raw.null_count() / max(len(self.raw), 1)

    @property
    def is_fraction(self) -> bool:
        """Whether its values are floats, not all of them whole."""
        return self.items.values.dtype.is_float() and not self.items.is_whole

    @functools.cached_property
    def is_finite(self) -> bool:
        """Whether all values are numbers, none missing or infinite."""
        if not self.items.known or not self.items.is_number or self.items.missing:
            return False
        inner = self.raw.list.eval(pl.element().cast(pl.Float64, strict=False).is_finite())
        return bool(inner.list.eval(pl.element().fill_null(False)).list.all().fill_null(True).all())

    @property
    def length(self) -> int:
        """The length of all lists, at least 2; 0 where they differ."""
        known = self.lengths[self.lengths >= 0]
        same = len(known) > 0 and known[0] > 1 and bool((known == known[0]).all())
        return int(known[0]) if same else 0


def fields(columns: list[ListColumn], scalars: dict[str, Column]) -> list[FieldDraft]:
    """The fields of all list columns.

    Args:
      columns: of lists.
      scalars: {name: column} of single values, whose tables bags may share.
    """
    fit = [c for c in columns if c.length and c.is_fraction and c.is_finite]
    vectors = {c.name for c in fit if not _weighs(c) or not _partners(c, columns)}
    others = [c for c in columns if c.name not in vectors]
    weights = _pairs(others)
    found = []
    for c in columns:
        made = FieldDraft(c.name, facts=facts(c))
        if not c.items.distinct:
            made.leave_out("no list has a value")
        elif c.name in vectors:
            made.options |= {"kind": "vector", "length": c.length}
        elif c.name in weights.values():
            bag = next(bag for bag, weight in weights.items() if weight == c.name)
            made.leave_out(f"the weights of {bag}")
        elif c.is_fraction:
            made.leave_out(_no_vector(c))
        else:
            _bag(made, c, weights.get(c.name, ""), scalars)
        found.append(made)
    return found


def _bag(made: FieldDraft, c: ListColumn, weights: str, scalars: dict[str, Column]) -> None:
    made.options["kind"] = "bag"
    least = min_count(c.items)
    if least > 1:
        made.options["min_count"] = least
    if weights:
        made.options["weights"] = quoted(weights)
        made.notes.append(_weights_note(weights))
    longest = int(c.lengths.max())
    if longest > KEPT:
        made.options["max_values"] = KEPT
        cut = float((c.lengths > KEPT).mean())
        made.notes.append(f"max_values cuts {percent(cut)} of the lists, of up to {longest:,}")
    twin = _twin(c, scalars)
    if twin:
        made.notes.append(
            f"its values are those of {twin}: with table: {quoted(twin)} (and the same min_count) "
            "they share embeddings; if the newest stand last, so they do with kind: sequence and "
            f"target: {quoted(twin)}, model.histories may weigh them by {twin}, and lists as long "
            "stand beside them, such as actions, with kind: sequence and "
            f"beside: {quoted(c.name)}"
        )


def _weights_note(weights: str) -> str:
    return f"{weights} has as many numbers in every row: the values' weights"


def drop_weights(found: dict[str, FieldDraft], suspect: list[str]) -> None:
    """Takes suspect weights from the bags that are not suspect themselves."""
    for weights in suspect:
        for made in found.values():
            if made.options.get("weights") == quoted(weights) and not made.suspect:
                del made.options["weights"]
                at = made.notes.index(_weights_note(weights))
                made.notes[at] = f"without its weights: {weights} is suspect"


def _twin(c: ListColumn, scalars: dict[str, Column]) -> str:
    """The column of single values that a bag lists, such as the items of a history; else ''."""
    items = set(c.items.texts.to_list())
    for name, other in scalars.items():
        if other.is_number != c.items.is_number or other.distinct < SHARED:
            continue
        common = items & set(other.texts.to_list())
        related = set(names.words(name)) & names.ENTITIES & _singular(names.words(c.name))
        if len(common) >= ALIKE * len(items) and (related or other.is_text) and len(items) > 20:
            return name
    return ""


def _singular(words: list[str]) -> set[str]:
    return {*words, *(word.removesuffix("s") for word in words)}


def _weighs(c: ListColumn) -> bool:
    return bool(set(names.words(c.name)) & WEIGHTS)


def _partners(c: ListColumn, columns: list[ListColumn]) -> list[ListColumn]:
    """The other columns whose lists are as long in every row, and hold something else."""
    return [
        other
        for other in columns
        if other is not c and not other.is_fraction and np.array_equal(other.lengths, c.lengths)
    ]


def _pairs(columns: list[ListColumn]) -> dict[str, str]:
    """{bag: weights} of parallel lists: floats, or numbers that are weights by their name."""
    found: dict[str, str] = {}
    ranked = sorted(columns, key=lambda c: not _weighs(c))
    for c in ranked:
        if not c.is_finite or not (c.is_fraction or _weighs(c)):
            continue
        for other in sorted(_partners(c, columns), key=lambda o: -_alike(o.name, c.name)):
            if other.name not in found and not _weighs(other) and other.items.distinct:
                found[other.name] = c.name
                break
    return found


def _alike(a: str, b: str) -> int:
    return len(_singular(names.words(a)) & _singular(names.words(b)))


def _no_vector(c: ListColumn) -> str:
    if not c.is_finite:
        return "some of its numbers are missing or infinite, and such rows are rejected"
    known = c.lengths[c.lengths >= 0]
    usual = int(np.bincount(known).argmax())
    return (
        f"numbers, {percent(float((known == usual).mean()))} of the lists with {usual}: no ids, "
        "and a vector's lists have one length"
    )


def facts(c: ListColumn) -> str:
    known = c.lengths[c.lengths >= 0]
    if not len(known):
        return "always missing"
    missing = f"; {percent(c.missing)} missing" if c.missing else ""
    if c.length and c.is_fraction:
        return f"lists of {c.length} numbers{missing}"
    items, longest = c.items, int(known.max())
    told = f"lists of up to {longest:,}, median {int(np.median(known))}"
    if not items.distinct:
        return f"{told}{missing}"
    if c.is_fraction:
        return f"{told}, of numbers{missing}"
    examples = ", ".join(shown(v) for v in items.common())
    most = f", most often {examples}" if items.distinct > 3 else f": {examples}"
    return f"{told}; {items.distinct:,} different{most}{missing}"
