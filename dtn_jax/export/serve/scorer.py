"""Several requests' rows to their scores, in one call of the model.

Every value gets the type that training had by itself, so no request's answer depends on what
another one holds.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np

from dtn_jax.errors import UserError
from dtn_jax.export.encoded import Bad, Encoded
from dtn_jax.export.model import Model
from dtn_jax.export.serve.asked import Asked, table
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
    left: dict[bool, list[int]] = {True: [], False: []}  # of Arrow, and of JSON
    for at, one in enumerate(asked):
        if one.wide and (found := _encode_wide(model, reading, one)) is not None:
            encoded[at] = found
        else:
            left[one.frame is not None].append(at)
    for group in filter(None, left.values()):
        for at, found in zip(group, _encode(model, reading, [asked[at] for at in group])):
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


def _encode_wide(model: Model, reading: Reading, one: Asked) -> Encoded | None:
    """The arrays of a request, its user's values encoded once; None where `_encode` must say what
    is wrong with a row.
    """
    rest = dataclasses.replace(one, shared=frozenset())
    once = dataclasses.replace(rest, rows=1)
    first, bad = Bad(np.ones(1, np.int64)), Bad(np.arange(1, one.rows + 1))
    types = {
        shared: {n: t for n, t in reading.types.items() if (n in one.shared) == shared}
        for shared in (True, False)
    }
    try:
        user, frame = table([once], types[True], first), table([rest], types[False], bad)
        good = first.good.all() and bad.good.all()
        return model.encoding.encode_shared(user, frame, one.rows) if good else None
    except BaseException as error:  # polars panics with one
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        return None


def _encode(model: Model, reading: Reading, asked: list[Asked]) -> list[Encoded | Refused]:
    """The arrays of each of several requests, all of JSON, or all of Arrow."""
    sizes = [one.rows for one in asked]
    bad = Bad(np.arange(1, sum(sizes) + 1))
    try:
        every = model.encoding.encode_frame(table(asked, reading.types, bad), bad)
    except BaseException as error:  # polars panics with one
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        if len(asked) > 1:
            return [found for one in asked for found in _encode(model, reading, [one])]
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
        found = _encode(model, reading, [one])[0]
        return found if isinstance(found, Refused) else Refused(422, NOTHING_SHOWN)
    first = min(bad, key=lambda reject: reject.row)
    row = first.row - part.start - 1
    return one.refused(first, row, reading.expected.get(first.column, "other values"))


def _part(every: Encoded, part: slice) -> Encoded:
    numbers = Bad(np.arange(1, part.stop - part.start + 1))
    return Encoded(every.ids[part], every.weights[part], every.numeric[part], numbers)


def _joined(parts: Sequence[Encoded]) -> Encoded:
    if len(parts) == 1:
        return parts[0]
    arrays = (np.concatenate([getattr(p, n) for p in parts]) for n in ("ids", "weights", "numeric"))
    return Encoded(*arrays, Bad(np.arange(1, sum(map(len, parts)) + 1)))
