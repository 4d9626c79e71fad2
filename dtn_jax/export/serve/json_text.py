"""The JSON of a body, without what JSON leaves open, and its values as they were written."""

from __future__ import annotations

import json
import math
import re
from typing import no_type_check

from dtn_jax.export.serve.refused import Refused, shown

MARK = "\ue000"  # before a number, kept as text
MARKED = re.compile(r'"\\ue000([-+.\dE]+)"', re.IGNORECASE)


def parse(body: bytes) -> object:
    """JSON, without what JSON leaves open: a key given twice, NaN, and texts of another encoding.

    Raises:
      Refused: it is no such text.
    """
    try:
        return json.loads(body.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise Refused(400, f"the body is not UTF-8 (byte {error.start:,})") from None
    except RecursionError:
        raise Refused(400, "the JSON is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise Refused(400, f"the body is not JSON: {shown(str(error))}") from None
    except ValueError:
        raise Refused(
            400, "the body is not JSON that can be read: one of its numbers has thousands of digits"
        ) from None


@no_type_check  # called for every object
def _once(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Refused(400, f"the JSON has the key {shown(repr(twice))} twice in one object")
    return found


def _no_number(text: str) -> None:
    raise Refused(400, f"{text} is not JSON; null is a missing value")


def written(body: bytes, place: tuple[str | int, ...], value: object) -> str:
    """The value at a place of a body that was parsed, as JSON.

    A number that no float holds, which is parsed as an infinite one, is as the client wrote it.
    """
    text = json.dumps(value)
    if "Infinity" not in text:
        return text
    found = json.loads(body, parse_float=_kept)
    for key in place:
        found = found[key]
    return MARKED.sub(r"\1", json.dumps(found))


def _kept(text: str) -> float | str:
    return number if math.isfinite(number := float(text)) else MARK + text
