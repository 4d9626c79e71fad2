"""What a prepared log was made from, and whether that is still so."""

from __future__ import annotations

import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dtn_jax.data.prepared import Prepared
from dtn_jax.data.raw.files import RawFile, content, modified, size
from dtn_jax.data.schemas import schema_file
from dtn_jax.data.schemas.spec import Spec
from dtn_jax.data.stages.work import SCHEMA_FILE
from dtn_jax.errors import UserError

RULES = 3  # raised whenever the same schema file and raw files would be prepared to other rows
SHOWN = 3  # differences of schema files that a message lists


def recipe(meaning: str, source: str = "") -> str:
    """SHA-256 of the rules by which a log is prepared: what the schema file means (its
    fingerprint), and `source`, the SHA-256 of the plug-in that it came with."""
    facts = [RULES, meaning, *([source] if source else [])]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def raw_facts(files: Mapping[str, str], older: Prepared | None = None) -> dict[str, dict]:
    """Of each file by its name: `raw_files`, its size, `raw_hashes`, of its content, and
    `raw_times`, when it was written.

    Args:
      files: {name: address} of the raw files.
      older: a set that was made from some of them: the hash of a file is that of then where size
        and time are.
    """
    sizes = {name: size(address) for name, address in files.items()}
    times = {name: modified(address) for name, address in files.items()}
    hashes = {
        name: older.raw_hashes[name]
        if older and is_same(older, name, sizes[name], times[name])
        else content(address)
        for name, address in files.items()
    }
    return {"raw_files": sizes, "raw_hashes": hashes, "raw_times": times}


def is_same(prepared: Prepared, name: str, size: int, time: int) -> bool:
    """Whether a file has the size and the time that it had when a set was made from it; a remote
    one has no time."""
    was = prepared.raw_files.get(name), prepared.raw_times.get(name)
    return bool(time) and was == (size, time)


def check_unchanged(files: Sequence[RawFile], raw: Mapping[str, Any]) -> None:
    """Raises UserError where a file is not as `raw_facts` saw it, or is gone."""
    for file in files:
        was, now = raw["raw_files"][file.address], size(file.address)
        same = was == now and raw["raw_times"][file.address] == modified(file.address) != 0
        if not same and (was != now or raw["raw_hashes"][file.address] != content(file.address)):
            told = f"was {was:,} bytes, is {now:,} bytes" if was != now else "has other bytes"
            raise UserError(
                f"{file.address} has changed while it was prepared: it {told}. No set is written; "
                "run the same command again once nothing writes to the log"
            )


def made_from(
    spec: Spec, source: str, raw: Mapping[str, Any], older: Prepared | None = None
) -> dict[str, Any]:
    """What makes a set, as prepared.json keeps it: recipe, plug-in, `raw`, of its files, and
    `extends`, the sets that it extends, from `older` back to the first."""
    made = recipe(schema_file.fingerprint(spec), source)
    found = {"recipe": made, "rules": RULES, "plugin": source, **raw}
    if older is None:
        return found
    own = {"name": older.schema.name, "fingerprint": older.fingerprint}
    return found | {"extends": [own, *older.extends]}


def change(prepared: Prepared, spec: Spec, now: Mapping[str, Any]) -> str:
    """What is not as it was when the set was prepared, in words; '' where nothing is.

    Args:
      prepared: the set.
      spec: the schema file of today.
      now: what `made_from` says today.
    """
    if prepared.recipe != now["recipe"]:
        return other_recipe(prepared.folder, spec, now["plugin"])
    was, is_ = (
        [s["fingerprint"] for s in sets] for sets in (prepared.extends, now.get("extends", []))
    )
    if was != is_:
        was, is_ = (_last(sets) for sets in (prepared.extends, now.get("extends", [])))
        return f"another set to extend: it was {was}, is {is_}"
    other = other_file(prepared, now)
    return f"other raw files: {other}" if other else ""


def other_file(prepared: Prepared, now: Mapping[str, Any]) -> str:
    """The first raw file that is not as it was when the set was prepared, in words; '' where none
    is. `now` is as `raw_facts` gives it."""
    for address in {**prepared.raw_files, **now["raw_files"]}:
        was, is_ = prepared.raw_files.get(address), now["raw_files"].get(address)
        if was != is_:
            was, is_ = ("absent" if n is None else f"{n:,} bytes" for n in (was, is_))
            return f"{address} was {was}, is {is_}"
        if prepared.raw_hashes.get(address) != now["raw_hashes"][address]:
            return f"{address} has the same size, but its content differs"
    return ""


def _last(sets: Sequence[Mapping[str, str]]) -> str:
    """Which set another one extends, in words."""
    return f"{sets[0]['name']} ({sets[0]['fingerprint'][:12]})" if sets else "none"


def other_recipe(folder: pathlib.Path, spec: Spec, plugin: str) -> str:
    """In words, why a set in `folder` has another recipe than the schema file has today."""
    here = spec.path or "the schema file"
    old = schema_file.meaning(schema_file.load(folder / SCHEMA_FILE))
    found = list(differences(old, schema_file.meaning(spec)))
    if found:
        more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        return f"another schema file than {here} is now: {'; '.join(found[:SHOWN])}{more}"
    was = json.loads((folder / "prepared.json").read_text())
    if was.get("plugin", "") != plugin:
        return f"the same schema file with another plug-in, whose code has changed since ({here})"
    return f"{here} by the rules of another version of dtn_jax"


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """What differs, such as 'fields.item.min_count was 2, is 3'; the name is the folder's."""
    if old == new or where == "name":
        return
    old, new = _by_name(old), _by_name(new)
    if not (isinstance(old, dict) and isinstance(new, dict)):
        yield f"{where} was {_shown(old)}, is {_shown(new)}"
        return
    for key in {**old, **new}:
        place = f"{where}.{key}" if where else key
        if key not in new or key not in old:
            yield f"{place} was {'added' if key in new else 'removed'}"
        else:
            yield from differences(old[key], new[key], place)
    if list(old) != list(new) and set(old) == set(new):
        yield f"the order of {where} has changed"


def _by_name(value: Any) -> Any:
    """A list of fields or tasks as {name: field}."""
    if (
        isinstance(value, list)
        and value
        and all(isinstance(v, dict) and "name" in v for v in value)
    ):
        return {item["name"]: item for item in value}
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
