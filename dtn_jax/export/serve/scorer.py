"""Several requests' rows to their scores, in one call of the model.

Each request's values have their types by themselves, and only columns whose types go together are
put together. So no request's answer depends on what another one holds.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np
import polars as pl

from dtn_jax.errors import UserError
from dtn_jax.export.encoded import Bad, Encoded
from dtn_jax.export.model import Model
from dtn_jax.export.serve.asked import Asked, Type, table
from dtn_jax.export.serve.reading import Reading
from dtn_jax.export.serve.refused import Refused, bad_value, shown

LOG = logging.getLogger("dtn_jax.serve")
NOTHING_SHOWN = "what encoding refuses"

Scores = dict[str, np.ndarray]  # {output: float64 [B]}


@dataclasses.dataclass(frozen=True)
class Scored:
    """What became of requests.

    Attributes:
      answers: of each its scores, or why it is refused.
      encoded: of all rows that were scored; None of none.
    """

    answers: list[Scores | Refused]
    encoded: Encoded | None


def score(model: Model, reading: Reading, asked: Sequence[Asked]) -> Scored:
    """The scores of requests, each as if it had come alone."""
    encoded: list[Encoded | Refused] = [Refused(500, "not encoded")] * len(asked)
    left = []
    for at, one in enumerate(asked):
        if one.wide and (found := _encode_wide(model, one)) is not None:
            encoded[at] = found
        else:
            left.append(at)
    for group, types in groups([asked[at] for at in left], reading):
        places = [left[n] for n in group]
        for at, found in zip(places, _encode(model, reading, [asked[n] for n in places], types)):
            encoded[at] = found
    good = [at for at, found in enumerate(encoded) if isinstance(found, Encoded)]
    answers: list = list(encoded)
    if not good:
        return Scored(answers, None)
    every = _joined([encoded[at] for at in good])
    logits = model.logits(every)
    scores, finite = model.scores(logits), every.good
    ends = np.cumsum([len(encoded[at]) for at in good])
    for at, end in zip(good, ends.tolist()):
        part = slice(end - len(encoded[at]), end)
        if finite[part].all():
            answers[at] = {name: values[part] for name, values in scores.items()}
        else:
            row = int((~finite[part]).argmax()) + 1
            place = f"{asked[at].what} {row}"
            answers[at] = bad_value(
                place, "", "a score that is not finite", "numbers as those of training", row
            )
    return Scored(answers, every)


def groups(asked: Sequence[Asked], reading: Reading) -> list[tuple[list[int], list[Type]]]:
    """Which requests have columns of types that go together, and those types.

    A column that is all null goes with any; whole numbers go with others where a number is read.
    """
    found: list[tuple[list[int], list[Type]]] = []
    places: dict[tuple, int] = {}  # of types that were seen
    for at, one in enumerate(asked):
        place = places.get(one.types)
        if place is None:
            place = next(
                (n for n, (_, known) in enumerate(found) if _together(known, one.types, reading)),
                len(found),
            )
            places[one.types] = place
            if place == len(found):
                found.append(([], list(one.types)))
        found[place][0].append(at)
    return found


def _together(known: list[Type], types: Sequence[Type], reading: Reading) -> bool:
    """Whether types go together; `known` then has those of both."""
    both = []
    for name, a, b in zip(reading.columns, known, types):
        numbers = name in reading.numbers and {a, b} == {pl.Int64, pl.Float64}
        if a != b and pl.Null not in (a, b) and not numbers:
            return False
        both.append(pl.Float64() if numbers else b if a == pl.Null else a)
    known[:] = both
    return True


def _encode_wide(model: Model, one: Asked) -> Encoded | None:
    """The arrays of a request, its user's values encoded once; None where `_encode` must say what
    is wrong with a row.
    """
    once = one.once
    frame = pl.DataFrame([c for n, c in one.columns.items() if n not in once.columns])
    try:
        return model.encoding.encode_shared(once, frame, one.rows)
    except BaseException as error:  # polars panics with one
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        return None


def _encode(
    model: Model, reading: Reading, asked: list[Asked], types: Sequence[Type]
) -> list[Encoded | Refused]:
    """The arrays of each of several requests whose columns go together."""
    sizes = [one.rows for one in asked]
    try:
        frame = table(asked, types)
        every = model.encoding.encode_frame(frame, Bad(np.arange(1, len(frame) + 1)))
    except BaseException as error:  # polars panics with one
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        if len(asked) > 1:
            return [found for one in asked for found in _encode(model, reading, [one], one.types)]
        if not isinstance(error, UserError):
            LOG.exception("rows that can't be encoded")
        return [Refused(422, f"the rows can't be encoded: {shown(str(error))}")]
    ends = np.cumsum(sizes)
    parts = [slice(end - size, end) for end, size in zip(ends.tolist(), sizes)]
    return [
        _part(every, part)
        if every.good[part].all()
        else _why(model, reading, one, every, part, len(asked) == 1)
        for one, part in zip(asked, parts)
    ]


def _why(
    model: Model, reading: Reading, one: Asked, every: Encoded, part: slice, alone: bool
) -> Refused:
    """Which row of a request is bad, and why."""
    bad = [reject for reject in every.bad if part.start < reject.row <= part.stop]
    if not bad and not alone:  # among the many bad rows of others
        found = _encode(model, reading, [one], one.types)[0]
        return found if isinstance(found, Refused) else Refused(422, NOTHING_SHOWN)
    first = min(bad, key=lambda reject: reject.row)
    row: int | None = first.row - part.start
    place = f"{one.what} {row}"
    if first.column in one.shared:
        row, place = None, "user"
    expected = reading.expected.get(first.column, "other values")
    if first.reason.startswith("expected "):
        expected = first.reason.removeprefix("expected ")
        return bad_value(place, first.column, first.value, expected, row)
    if not first.value:
        return bad_value(place, first.column, first.reason, expected, row)
    return bad_value(place, first.column, first.value, expected, row, first.reason)


def _part(every: Encoded, part: slice) -> Encoded:
    numbers = Bad(np.arange(1, part.stop - part.start + 1))
    return Encoded(every.ids[part], every.weights[part], every.numeric[part], numbers)


def _joined(parts: Sequence[Encoded]) -> Encoded:
    if len(parts) == 1:
        return parts[0]
    arrays = (np.concatenate([getattr(p, n) for p in parts]) for n in ("ids", "weights", "numeric"))
    return Encoded(*arrays, Bad(np.arange(1, sum(map(len, parts)) + 1)))
