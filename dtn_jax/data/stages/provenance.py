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


def check_unchanged(raw: Mapping[str, Any]) -> None:
    """Raises UserError where a file is not as `raw_facts` saw it, or is gone."""
    was = SimpleNamespace(**raw)
    now = raw_facts({address: address for address in was.raw_files}, was)
    if change := other_file(was, now):
        raise UserError(
            f"{change}: the log has changed while it was prepared. No set is written; run the same "
            "command again once nothing writes to the log"
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
    was, is_ = prepared.extends, now.get("extends", [])
    if was != is_:
        return f"another set to extend: it was {_last(was)}, is {_last(is_)}"
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


def _last(sets: Sequence[Mapping[str, str]]) -> str:
    """Which set another one extends, in words."""
    return f"{sets[0]['name']} ({sets[0]['fingerprint'][:12]})" if sets else "none"


def other_recipe(folder: pathlib.Path, spec: Spec, plugin: str) -> str:
    """In words, why a set in `folder` has another recipe than the schema file has today."""
    here = spec.path or "the schema file"
    old = schema_file.meaning(schema_file.load(folder / SCHEMA_FILE))
    if found := differences(old, schema_file.meaning(spec)):
        return f"another schema file than {here} is now: {found}"
    was = json.loads((folder / "prepared.json").read_text())
    if was.get("plugin", "") != plugin:
        return f"the same schema file with another plug-in, whose code has changed since ({here})"
    return f"{here} by the rules of another version of dtn_jax"


def differences(old: Any, new: Any) -> str:
    """What differs, such as 'fields.item.min_count was 2, is 3'; '' where nothing does."""
    found = list(_differences(old, new))
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return "; ".join([*found[:SHOWN], *more])


def _differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """What differs; the name is the folder's."""
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
            yield from _differences(old[key], new[key], place)
    if list(old) != list(new) and set(old) == set(new):
        yield f"the order of {where} has changed"


def _by_name(value: Any) -> Any:
    """A list of fields or tasks as {name: field}."""
    named = isinstance(value, list) and all(isinstance(v, dict) and "name" in v for v in value)
    if named and value:
        return {item["name"]: item for item in value}
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


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
            f"--extend={given}: {older.folder} is where the new set would be. Give the new one "
            f"another name than {spec.name!r} (name: in {spec.path or 'the schema file'}, or the "
            "file's own name), or another --data_dir and the folder of the old one"
        )
    meanings = (schema_file.meaning(s) for s in (schema_file.load(_kept(older)), spec))
    was, is_ = ({part: meaning[part] for part in SAME} for meaning in meanings)
    if found := differences(was, is_):
        raise UserError(
            f"{spec.path or spec.name} cannot extend {older.folder}, because its fields or tasks "
            f"are others: {found}. Expected the same {' and '.join(SAME)} "
            f"as in {_kept(older)}; name, split and input may differ"
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
    splits = [schema_file.meaning(s)["split"] for s in (schema_file.load(_kept(older)), spec)]
    if spec.split.by == splits[0]["by"] == "time":
        apart = cuts["validation"] >= older.notes["cuts"]["validation"]
    else:  # a random split draws a row by the place of its file
        apart = splits[0] == splits[1] and (spec.split.by != "random" or now[: len(was)] == was)
    if not shared or apart:
        return ""
    return (
        f"note: {shared} of {len(now)} raw files are part of {older.schema.name} too, and rows "
        "that it trains on are in validation or test here. A run that starts from one of its runs "
        "(train.start_from) would be judged on rows that it has seen: give the new files alone, or "
        "split by time"
    )


def _kept(older: Prepared) -> pathlib.Path:
    return older.folder / SCHEMA_FILE


def _folder(given: str | pathlib.Path, data_dir: str | pathlib.Path) -> pathlib.Path:
    """Where the set lies."""
    logs = pathlib.Path(data_dir).expanduser().absolute() / "logs"
    own = pathlib.Path(given).expanduser().absolute()
    for folder in (own, own / VERSION, logs / str(given) / VERSION):
        if (folder / "prepared.json").is_file():
            return folder.resolve()
    names = sorted(path.parents[1].name for path in logs.glob(f"*/{VERSION}/prepared.json"))
    raise UserError(
        f"--extend={given}: no prepared set is there; expected its folder, or a name in {logs}: "
        f"{', '.join(names) or 'there is none'}"
    )
