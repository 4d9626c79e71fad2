"""The prepared set that another one extends: where it lies, and whether it can be extended."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

from dtn_jax.data.prepared import Prepared, read
from dtn_jax.data.schemas import schema_file
from dtn_jax.data.schemas.spec import Spec
from dtn_jax.data.stages.provenance import SHOWN, differences
from dtn_jax.data.stages.work import SCHEMA_FILE, VERSION
from dtn_jax.errors import UserError

SAME = ("fields", "tasks")  # of the two schema files, in meaning


def find(
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
    if found := list(differences(was, is_)):
        more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise UserError(
            f"{spec.path or spec.name} cannot extend {older.folder}, because its fields or tasks "
            f"are others: {'; '.join(found[:SHOWN])}{more}. Expected the same {' and '.join(SAME)} "
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
