"""The field that a column can be, by its type, its values and its name; and what is suspect.

A column that tells a label too well is the label in disguise, or known only after the fact. Such
leaks are those of `describe.leaks`: one half of the sample is fitted, the other scored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from dtn_jax.data import times
from dtn_jax.data.describe import leaks
from dtn_jax.data.describe.leaks import FEWEST, KNOWN, Label, Values
from dtn_jax.data.infer import names, roles
from dtn_jax.data.infer.draft import FieldDraft, TaskDraft, percent, quoted, shown
from dtn_jax.data.infer.sample import FEW, SMALL, Column, column_of
from dtn_jax.shapes import Bool, Int

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
COPIES = 0.9  # different values by rows: more say nothing of copies
GRACE = 60 * times.SECOND  # nearer times are of the same moment
LATER = 0.5  # share of the rows in which a time is later than the event's
ALONE, LENGTH = "Alone it has", "The lengths of its lists alone have"
BAG = "The values of its lists, {} most of all, alone have"
ENTRY, SUMS = "The entry [{}] of its vectors alone has", "The sums of its lists alone have"


def single(column: Column, whole: bool) -> FieldDraft:
    """The field of a column of single values, from a sample that is the `whole` log or not."""
    numeric = is_numeric(column)
    if column.raw.dtype == pl.String and not numeric:
        column = column_of(column.raw, as_is=True)  # '1.0' is another than '1'
    field = FieldDraft(column.name, facts=facts(column))
    if column.distinct == 0:
        field.leave_out("always missing")
    elif column.distinct == 1 and not column.missing:
        field.leave_out(f"constant: always {shown(column.different[0])}")
    elif column.values.dtype == pl.Duration:
        field.leave_out("spans of time cannot be read: write them as numbers of seconds")
    elif times.is_date(column.values.dtype):
        field.leave_out(TIMES)
    elif numeric:
        field.options |= {"kind": "numeric"} | ({"log": "true"} if column.is_skewed else {})
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


# What is suspect.


def labels(drafts: Sequence[TaskDraft], rows: int) -> list[Label]:
    """The labels to be told, by the halves of the sample; of a regression, whether it is above its
    median."""
    half = np.random.default_rng(0).random(rows) < 0.5
    found = []
    for task in drafts:
        known = ~np.isnan(task.values)
        middle = 0 if task.binary or not known.any() else np.median(task.values[known])
        sides = tuple(np.flatnonzero(known & side) for side in (half, ~half))
        found.append(Label(task.name, sides, tuple(task.values[s] > middle for s in sides)))
    return found


def leave_out(field: FieldDraft, c: Column, able: Sequence[Label]) -> None:
    """Leaves a column out that tells a label too well, or is an outcome by its name."""
    why = suspicion(c, field.options.get("kind", ""), able)
    if why and names.is_entity(c.name) and names.is_id(c.name) and not c.missing:
        field.notes.append(f"{why}; a label that is a property of {c.name}?")
    elif why:
        field.leave_out(why, suspect=True)
    if c.is_list:
        return
    binary = c.is_binary
    if binary and names.is_yes_or_no(c.name):
        field.notes.append("if it happens after a row is shown, it is a label or a leak")
    number = c.kind == "number" and c.distinct > 2 and names.is_value(c.name)
    if (binary and c.distinct > 1 and names.is_outcome(c.name)) or number:
        field.leave_out(
            "an outcome by its name, and none of --labels: what happens after a row was shown "
            "cannot be an input",
            suspect=True,
        )


def suspicion(c: Column, kind: str, able: Sequence[Label]) -> str:
    """Why a column of this kind is suspect; '' where it is not.

    Args:
      c: the column.
      kind: bag or vector; of other lists of numbers, such as weights, the sums are tried.
      able: the labels with enough rows.
    """
    figures = leaks.alone(c.name, _values(c, kind), able)
    if c.is_list and c.is_finite and kind not in ("bag", "vector"):
        sums = column_of(c.raw.list.head(KEPT).list.sum())
        figures += leaks.alone(c.name, _values(sums, "", SUMS), able)
    by_missing = [figure for figure in figures if figure.by == KNOWN and figure.suspect]
    best = max(by_missing or figures, key=lambda figure: figure.auc, default=None)
    if best is None or not best.suspect:
        return ""
    label = next(label for label in able if label.key == best.key)
    if best.by == KNOWN:
        ones, gone = np.concatenate(label.ones), ~_there(c)[np.concatenate(label.rows)]
        return (
            f"known only after the fact? It is {'empty or ' * c.is_list}missing in "
            f"{percent(float(gone[ones].mean()))} of the rows with {best.key}, and in "
            f"{percent(float(gone[~ones].mean()))} of the others: AUC {best.auc:.4f}"
        )
    what = best.entry
    if best.by == BAG:
        ids, values = _padded(c)
        fit = leaks.fitted(ids[label.rows[0]], label.ones[0], values.distinct)
        more = fit.positives - (fit.positives + fit.negatives) * label.ones[0].mean()
        what = shown(values.different[int(fit.ids[np.where(fit.ids < 0, -1, more).argmax()])])
    return f"a label in disguise? {best.by.format(what)} AUC {best.auc:.4f} on {best.key}"


def _values(c: Column, kind: str, by: str = ALONE) -> Iterator[Values]:
    """What a label is told by: whether a value is there, the values, numbers in buckets."""
    there = _there(c)
    if there.any() and not there.all():
        yield Values(KNOWN, 2, there[:, None].astype(np.int8))
    if not c.is_list:
        yield Values(by, c.distinct, c.codes[:, None])
    elif there.any():
        yield Values(LENGTH, int(c.lengths.max()) + 2, c.lengths[:, None] + 1)
    numbers = []
    if kind == "bag":
        ids, values = _padded(c)
        yield Values(BAG, values.distinct, ids)
    elif kind == "vector":
        numbers = ((n, column_of(c.raw.list.get(n)).numbers) for n in range(c.length))
    elif c.kind == "number" and not c.is_list:
        numbers = [(None, c.numbers)]
    for entry, x in numbers:
        rows, (ids,) = leaks.in_buckets([np.nan_to_num(x)], [there])
        yield Values(by if entry is None else ENTRY, rows, ids, entry=entry, numbers=x)


def _there(c: Column) -> Bool[np.ndarray, " R"]:
    """Where there is a value, or a list with values."""
    return c.lengths > 0 if c.is_list else c.codes >= 0


def _padded(c: Column) -> tuple[Int[np.ndarray, "R S"], Column]:
    """The first KEPT values of each list, which are those that a field keeps, as ids; and those."""
    lengths = np.clip(c.lengths, 0, KEPT)
    values = column_of(c.raw.list.head(KEPT).filter(lengths > 0).explode())
    ids = np.full((len(lengths), max(int(lengths.max()), 1)), -1, np.int32)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = values.codes
    return ids, values


def leave_out_times(
    found: Mapping[str, FieldDraft], columns: Mapping[str, Column], event: Column | None
) -> None:
    """Leaves out times, and says which are later than the event."""
    unit = roles.unit_of(event) if event else ""
    for name, c in columns.items():
        own = roles.unit_of(c)
        typed = times.is_date(c.raw.dtype) or c.kind == "text"
        if not own or (not typed and names.time_rank(name) is None):
            continue
        found[name].leave_out(TIMES)
        if "number" in (own, unit or "number"):
            continue
        seen, began = times.to_time(c.raw, own), times.to_time(event.raw, unit)
        if roles.of_days(c, own):  # a day is later than the event from the next day on
            began = began // times.DAY * times.DAY
        late = (seen > began + GRACE).drop_nulls()
        if len(late) >= FEWEST and late.mean() > LATER:
            found[name].leave_out(
                f"known only after the fact? It is later than {event.name} in "
                f"{percent(late.mean())} of the rows that have it",
                suspect=True,
            )


def leave_out_copies(found: Mapping[str, FieldDraft], columns: Mapping[str, Column]) -> None:
    """Leaves out columns that tell what an earlier field tells.

    Two columns of categories tell the same where each value of one goes with one value of the
    other, and not nearly every row has a value of its own; two of numbers where they put the rows
    into the same order. Of an item, its price tells other things than its id.
    """
    first: dict[tuple, Column] = {}
    for name, c in columns.items():
        numeric = is_numeric(c)
        if found[name].reason or c.distinct <= 1 or (not numeric and c.distinct > COPIES * c.known):
            continue
        codes = c.codes
        if numeric:
            codes = np.append(np.argsort(np.argsort(c.different.to_numpy())), -1)[codes]
        digest = hashlib.sha256(np.ascontiguousarray(codes).tobytes()).digest()
        other = first.setdefault((numeric, digest), c)
        if other is not c:
            copy = other.different.cast(pl.String).equals(c.different.cast(pl.String))
            told = "a copy of {}" if copy else "it tells what {} does, value for value"
            found[name].leave_out(told.format(other.name), suspect=True)
