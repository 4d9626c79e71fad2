"""Values, names and shares as the file and the terminal show them."""

from __future__ import annotations

import json
import re
from typing import Any

from dtn_jax.datasets.logs.formula import CONSTANTS, WORDS
from dtn_jax.datasets.preparation import progress

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
YAML_WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")  # of YAML 1.1, too
LONGEST = 24  # characters of an example


def quoted(text: str) -> str:
    """A text as YAML has it: plain where all readers of YAML see a text in it."""
    return text if PLAIN.fullmatch(text) and text.lower() not in YAML_WORDS else always(text)


def formula(text: str) -> str:
    """An expression as YAML has it."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_ ()<>=.+*-]*[A-Za-z0-9_)]", text)
    return text if plain and text.lower() not in YAML_WORDS else always(text)


def always(text: str) -> str:
    """A text in quotes."""
    made = json.dumps(text, ensure_ascii=False)
    return "".join(sign if sign.isprintable() else _escaped(sign) for sign in made)


def _escaped(sign: str) -> str:
    number = ord(sign)
    return f"\\u{number:04x}" if number < 1 << 16 else f"\\U{number:08x}"


def options(given: dict[str, Any]) -> str:
    """{kind: numeric, log: true}, of values that are ready for YAML."""
    texts = {k: f"[{', '.join(v)}]" if isinstance(v, list) else v for k, v in given.items()}
    return "{" + ", ".join(f"{key}: {text}" for key, text in texts.items()) + "}"


def expression(column: str) -> str:
    """A column's name in an expression; '' where none can have it."""
    if re.fullmatch(r"[^\W\d]\w*", column) and column not in (*WORDS, *CONSTANTS):
        return column
    return "" if "`" in column else f"`{column}`"


def clean(text: str) -> str:
    """A text for a comment: on one line, without what YAML does not allow."""
    return "".join(sign if sign.isprintable() else "·" for sign in text)


def shown(given: Any) -> str:
    """A value as an example in a comment."""
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, float):
        return _number(given)
    if isinstance(given, str):
        text = clean(given)
        text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
        return text if text and text == text.strip() and "," not in text else f"'{text}'"
    return clean(str(given))[:LONGEST]


def _number(given: float) -> str:
    if abs(given) >= 1e15 or 0 < abs(given) < 1e-4 or given != given:
        return f"{given:.3g}"
    if given == int(given):
        return f"{int(given):,}" if abs(given) >= 10_000 else f"{int(given)}"
    return f"{given:,.0f}" if abs(given) >= 1000 else f"{given:.3g}"


def percent(share: float) -> str:
    """'3.2 %'"""
    return "100 %" if share == 1 else progress.percent(round(share * 10**9), 10**9)
