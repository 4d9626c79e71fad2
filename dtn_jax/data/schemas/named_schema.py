"""How a config names a schema file: `schema=PATH#MEANING`, the file and a hash of what it means.

A run belongs to the meaning, wherever the file lies, and whatever its comments say.
"""

from __future__ import annotations

import pathlib
import re

from dtn_jax.data.schemas import schema_file
from dtn_jax.errors import UserError
from dtn_jax.options import split_outside_brackets

NAMED = re.compile(r"(?P<path>.+?)(#(?P<meaning>[0-9a-f]{64}))?", re.DOTALL)
PLACED = re.compile(r"schema=.*#([0-9a-f]{64})", re.DOTALL)
SPECIAL = set(",;()[]{}'\"")  # what a list of options, or a config's argument, is split by


def from_argument(argument: str) -> tuple[str, str]:
    """The options of data set `logs`, and what else a config's argument says.

    Args:
      argument: such as 'dtn,schema=shop.yaml,quick'.

    Raises:
      UserError: there is no such schema file, or it makes no sense.
    """
    parts = split_outside_brackets(argument)
    paths = [part.partition("=")[2] for part in parts if part.partition("=")[0].strip() == "schema"]
    rest = ",".join(part for part in parts if part.partition("=")[0].strip() != "schema")
    path = paths[-1].strip() if paths else ""
    return with_meaning(f"schema={path}") if path else "", rest


def with_meaning(options: str) -> str:
    """'schema=shop.yaml' as 'schema=/home/me/shop.yaml#MEANING'; what has a meaning keeps it.

    Raises:
      UserError: there is no such schema file, or it makes no sense.
    """
    key, _, value = options.partition("=")
    path, meaning = parted(value)
    if key.strip() != "schema" or not path or meaning:
        return options
    whole = path.expanduser().absolute()
    if SPECIAL & set(str(whole)):
        raise UserError(f"a schema file's path cannot have one of {' '.join(SPECIAL)}: {whole}")
    return f"schema={whole}#{schema_file.fingerprint(schema_file.load(path))}"


def without_place(options: str) -> str:
    """'schema=/home/me/shop.yaml#MEANING' as 'schema=#MEANING'; other options as they are."""
    return PLACED.sub(r"schema=#\1", options)


def parted(value: str) -> tuple[pathlib.Path | None, str]:
    """The path and the meaning of 'PATH#MEANING'; '' where there is none."""
    named = NAMED.fullmatch(value.strip())
    return (pathlib.Path(named["path"]), named["meaning"] or "") if named else (None, "")
