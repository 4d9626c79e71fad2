"""The page of the schema file's keys: what `dtn-jax prepare --help=schema` prints, as tables."""

from __future__ import annotations

import re

from dtn_jax.data.schemas.key_models import help_text

LEAD = """\
---
search:
  boost: 2
---

# Schema file

Every key of a [schema file](logs.md#the-schema-file), as `dtn-jax prepare --help=schema` prints
it, with the functions of its expressions.
"""
ROW = re.compile(r"  (\S+) +(.+)")


def page() -> str:
    """Markdown."""
    parts = [LEAD]
    for section in help_text().strip().split("\n\n"):
        title, *lines = section.splitlines()
        parts.append(f"## {title}\n\n| key | what it is |\n| --- | --- |")
        rows = [ROW.fullmatch(line) for line in lines]
        parts.append("".join(f"| `{row[1]}` | {escaped(row[2])} |\n" for row in rows))
    return "\n".join(parts)


def escaped(text: str) -> str:
    """Plain text in a cell of a table."""
    return re.sub(r"([|*_<{\[])", r"\\\1", text)
