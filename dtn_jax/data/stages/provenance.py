"""What a prepared log was made from, and whether that is still so; the set that it extends."""

from __future__ import annotations

import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from dtn_jax.data.prepared import Prepared, read
from dtn_jax.data.raw.files import content, modified, size
from dtn_jax.data.schemas import schema_file
from dtn_jax.data.schemas.spec import Spec
from dtn_jax.data.stages.work import SCHEMA_FILE, VERSION
from dtn_jax.errors import UserError

Made = Prepared | SimpleNamespace  # a set, or its raw facts
RULES = 3  # raised whenever the same schema file and raw files would be prepared to other rows
SHOWN = 3  # differences of schema files that a message lists
SAME = ("fields", "tasks")  # what an extended set's schema file has in common with the new one's


def recipe(meaning: str, source: str = "") -> str:
    """SHA-256 of the rules by which a log is prepared: what the schema file means (its
    fingerprint), and `source`, the SHA-256 of the plug-in that it came with."""
    facts = [RULES, meaning, *([source] if source else [])]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def raw_facts(files: Mapping[str, str], older: Made | None = None) -> dict[str, dict]:
    """Of each file by its name: `raw_files`, its size, `raw_hashes`, of its content, and
    `raw_times`, when it was written.

    Args:
      files: {name: address} of the raw files.
      older: a set that was made from some of them: the hash of a file is that of then where size
        and time are; a remote one has no time.
    """
    sizes = {name: size(address) for name, address in files.items()}
    times, hashes = {name: modified(address) for name, address in files.items()}, {}
    for name, address in files.items():
        was = older and (older.raw_files.get(name), older.raw_times.get(name))
        same = times[name] and was == (sizes[name], times[name])
        hashes[name] = older.raw_hashes[name] if same else content(address)
    return {"raw_files": sizes, "raw_hashes": hashes, "raw_times": times}


def made_from(
    spec: Spec, source: str, raw: Mapping[str, Any], older: Prepared | None = None
) -> dict[str, Any]:
    """What makes a set, as prepared.json keeps it: recipe, plug-in, `raw`, of its files, and
    `extends`, the sets that it extends, from `older` back to the first."""
    facts = {"recipe": recipe(schema_file.fingerprint(spec), source), "rules": RULES}
    facts |= {"plugin": source, **raw}
    if older is None:
        return facts
    last = {"name": older.schema.name, "fingerprint": older.fingerprint}
    return facts | {"extends": [last, *older.extends]}


def change(prepared: Prepared, spec: Spec, now: Mapping[str, Any]) -> str:
    """What is not as it was when the set was prepared, in words; '' where nothing is.

    Args:
      prepared: the set.
      spec: the schema file of today.
      now: what `made_from` says today.
    """
    if prepared.recipe != now["recipe"]:
        return other_recipe(prepared.folder, spec, now["plugin"])
    was, is_ = prepared.extends, now.get("extends", [])
    if was != is_:
        was, is_ = (s and f"{s[0]['name']} ({s[0]['fingerprint'][:12]})" for s in (was, is_))
        return f"another set to extend: it was {was or 'none'}, is {is_ or 'none'}"
    other = other_file(prepared, now)
    return f"other raw files: {other}" if other else ""


def other_file(prepared: Made, now: Mapping[str, Any]) -> str:
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


def check_unchanged(raw: Mapping[str, Any]) -> None:
    """Raises UserError where a file is not as `raw_facts` saw it, or is gone."""
    was = SimpleNamespace(**raw)
    now = raw_facts({address: address for address in was.raw_files}, was)
    if change := other_file(was, now):
        raise UserError(
            f"{change}: the log has changed while it was prepared. No set is written; run the same "
            "command again once nothing writes to the log"
        )


def other_recipe(folder: pathlib.Path, spec: Spec, plugin: str) -> str:
    """In words, why a set in `folder` has another recipe than the schema file has today."""
    here = spec.path or "the schema file"
    if changed := differences(schema_file.load(folder / SCHEMA_FILE), spec):
        return f"another schema file than {here} is now: {changed}"
    was = json.loads((folder / "prepared.json").read_text())
    if was.get("plugin", "") != plugin:
        return f"the same schema file with another plug-in, whose code has changed since ({here})"
    return f"{here} by the rules of another version of dtn_jax"


def differences(old: Spec, new: Spec, parts: Sequence[str] = ()) -> str:
    """What two schema files mean differently, such as 'fields.item.min_count was 2, is 3'; ''
    where nothing. `parts` are the keys of the file that are compared; none: all but the name."""
    was, is_ = (
        {key: text for key, text in _flat(schema_file.meaning(spec)) if key != "name"}
        for spec in (old, new)
    )
    keys = [k for k in {**was, **is_} if not parts or k.partition(".")[0] in parts]
    changed = [k for k in keys if was.get(k) != is_.get(k)]
    if not changed and [k for k in was if k in keys] != [k for k in is_ if k in keys]:
        return "the order of its fields or tasks"
    shown = [f"{k} was {was.get(k, 'absent')}, is {is_.get(k, 'absent')}" for k in changed[:SHOWN]]
    more = [f"and {len(changed) - SHOWN} more"] if len(changed) > SHOWN else []
    return "; ".join([*shown, *more])


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Each part of a meaning: its place, such as fields.item.min_count, and its JSON."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        value = {part["name"]: part for part in value}
    if not isinstance(value, dict):
        yield place, json.dumps(value, ensure_ascii=False)
        return
    for key, part in value.items():
        yield from _flat(part, f"{place}.{key}" if place else key)


# The set that another one extends: where it lies, and whether it can be extended.


def find_older(
    given: str | pathlib.Path, data_dir: str | pathlib.Path, spec: Spec, home: pathlib.Path
) -> Prepared:
    """The set that the one to be made extends.

    Args:
      given: its folder, or its name in `data_dir`.
      data_dir: the folder of all prepared sets.
      spec: the schema file of the set to be made.
      home: where that will be, in a folder of its version.

    Raises:
      UserError: there is no such set, it is the one to be made, or it has other fields or tasks.
    """
    older = read(_folder(given, data_dir))
    if older.folder == (home / VERSION).resolve():
        raise UserError(
            f"--extend={given}: {older.folder} is where the new set would be; give the new one "
            f"another name than {spec.name!r}"
        )
    kept = older.folder / SCHEMA_FILE
    if changed := differences(schema_file.load(kept), spec, SAME):
        raise UserError(
            f"{spec.path or spec.name} cannot extend {older.folder}, because its fields or tasks "
            f"are others: {changed}. Expected the same {' and '.join(SAME)} as in {kept}; name, "
            "split and input may differ"
        )
    return older


def check_events(older: Prepared, spec: Spec, raw: Mapping) -> None:
    """Raises UserError where histories would list events twice: those that the older set has kept,
    and those of a file of it that is given again.

    Args:
      older: the set that is extended.
      spec: the schema file of the new set.
      raw: the files of that, as of `provenance.raw_facts`.
    """
    again = [a for a, digest in raw["raw_hashes"].items() if digest in older.raw_hashes.values()]
    if again and spec.histories():
        raise UserError(
            f"{len(again)} of {len(raw['raw_hashes'])} raw files are part of {older.schema.name} "
            f"too, the first {again[0]}: histories continue from the events that it has kept, and "
            "would list those of these files twice. Give the new files alone"
        )


def seen_again(older: Prepared, spec: Spec, raw: Mapping, cuts: Mapping[str, int]) -> str:
    """A line where rows that the older set trains on are in validation or test of the new one; ''
    where they are not, or no file is in both.

    Args:
      older, spec, raw: as of `check_events`.
      cuts: the first times of the new set's validation and test, where it is split by time.
    """
    was, now = list(older.raw_hashes.values()), list(raw["raw_hashes"].values())
    shared = len({*was} & {*now})
    kept = schema_file.load(older.folder / SCHEMA_FILE)
    before, after = (schema_file.meaning(s)["split"] for s in (kept, spec))
    if spec.split.by == before["by"] == "time":
        apart = cuts["validation"] >= older.notes["cuts"]["validation"]
    else:  # a random split draws a row by the place of its file
        apart = before == after and (spec.split.by != "random" or now[: len(was)] == was)
    if not shared or apart:
        return ""
    return (
        f"note: {shared} of {len(now)} raw files are part of {older.schema.name} too, and rows "
        "that it trains on are in validation or test here. A run that starts from one of its runs "
        "(train.start_from) would be judged on rows that it has seen: give the new files alone, or "
        "split by time"
    )


def _folder(given: str | pathlib.Path, data_dir: str | pathlib.Path) -> pathlib.Path:
    """Where the set lies."""
    logs = pathlib.Path(data_dir).expanduser().absolute() / "logs"
    named = pathlib.Path(given).expanduser().absolute()
    for folder in (named, named / VERSION, logs / str(given) / VERSION):
        if (folder / "prepared.json").is_file():
            return folder.resolve()
    names = sorted(path.parents[1].name for path in logs.glob(f"*/{VERSION}/prepared.json"))
    raise UserError(
        f"--extend={given}: no prepared set is there; expected its folder, or a name in {logs}: "
        f"{', '.join(names) or 'there is none'}"
    )
