"""What a prepared log was made from, and whether that is still so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from dtn_jax.datasets.logs import schema_file
from dtn_jax.datasets.logs.raw.files import RawFile, ends
from dtn_jax.datasets.logs.spec import Spec
from dtn_jax.datasets.preparation.prepared import Prepared

RULES = 1  # raised whenever the same schema file and raw files would be prepared to other rows


def recipe(meaning: str, source: str = "") -> str:
    """SHA-256 of the rules by which a log is prepared: what the schema file means (its
    fingerprint), and `source`, the SHA-256 of the plug-in that it came with."""
    facts = [RULES, meaning, *([source] if source else [])]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def raw_facts(files: Sequence[RawFile]) -> dict[str, dict]:
    """`raw_files`, the size of each file by its address, and `raw_hashes`, a hash of its ends."""
    return {
        "raw_files": {file.address: file.size for file in files},
        "raw_hashes": {file.address: ends(file.address) for file in files},
    }


def made_from(
    spec: Spec,
    files: Sequence[RawFile],
    source: str = "",
    made_of: Mapping[str, Mapping] | None = None,
) -> dict:
    """What makes a set, as prepared.json keeps it: recipe, and `made_of`, or the facts of files."""
    facts = raw_facts(files) if made_of is None else dict(made_of)
    return {"recipe": recipe(schema_file.fingerprint(spec), source)} | facts


def change(prepared: Prepared, now: Mapping[str, Any]) -> str:
    """What is not as it was when the set was prepared, in words; '' where everything is.

    Args:
      prepared: the set.
      now: what `made_from` says today.
    """
    if prepared.recipe != now["recipe"]:
        return "another schema file, or by other rules than this version's"
    files, hashes = now["raw_files"], now["raw_hashes"]
    for address in {**prepared.raw_files, **files}:
        was, is_ = prepared.raw_files.get(address), files.get(address)
        if was != is_:
            was, is_ = ("absent" if n is None else f"{n:,} bytes" for n in (was, is_))
            return f"other raw files: {address} was {was}, is {is_}"
        if prepared.raw_hashes[address] != hashes[address]:
            return (
                f"other raw files: {address} has the same size, but its first or last bytes differ"
            )
    return ""
