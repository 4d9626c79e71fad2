"""The parts become the output while others are scored, and nothing is lost on the way."""

import os
import pathlib

import polars as pl
import pytest
from made_models import FRAME

from dtn_jax import shared_files
from dtn_jax.errors import UserError
from dtn_jax.export import joined, score_files
from dtn_jax.export.score_files import Job

pytest_plugins = ["score_fixtures"]

SUFFIXES = (".parquet", ".csv", ".jsonl")


@pytest.fixture(autouse=True)
def units_of_two_rows(monkeypatch):
    monkeypatch.setattr(score_files, "UNIT", {"rows": 2, "size": 100})


def whole(made_model, made_day, output):
    """What the output holds without an interruption."""
    list(Job(made_model, [str(made_day)], output, say=lambda _: None).run())
    return output.read_bytes()


def begun(made_model, made_day, output, units):
    """Scores so many units, and ends as by a kill; the units that were appended by then."""
    job = Job(made_model, [str(made_day)], output, say=lambda _: None)
    for done, _ in enumerate(job.run(), 1):
        if done == units + 1:
            break
    return job


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_parts_are_appended_while_others_are_scored(
    made_model, made_day, tmp_path, monkeypatch, suffix
):
    steps = []
    for owner, name in ((score_files.Part, "close"), (joined.Joined, "append")):
        patched = getattr(owner, name)

        def noted(self, *given, name=name, patched=patched):
            steps.append(name)
            return patched(self, *given)

        monkeypatch.setattr(owner, name, noted)
    whole(made_model, made_day, tmp_path / f"s{suffix}")
    assert steps == ["close", "append"] * 3


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_joined_before_a_kill_is_joined_anew(made_model, made_day, tmp_path, suffix):
    expected, output = (
        whole(made_model, made_day, tmp_path / f"whole{suffix}"),
        tmp_path / f"s{suffix}",
    )
    begun(made_model, made_day, output, 2)
    parts = output.with_name(f"{output.name}.parts")
    (parts / "joined.tmp").write_bytes(b"half of the output")  # as a kill leaves it
    told = []
    job = Job(made_model, [str(made_day)], output, say=told.append)
    assert not (parts / "joined.tmp").exists()
    list(job.run())
    assert "resuming" in told[0]
    assert output.read_bytes() == expected
    assert not parts.exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_a_part_that_is_damaged_later_is_named_and_scored_again(
    made_model, made_day, tmp_path, suffix, harm
):
    expected, output = (
        whole(made_model, made_day, tmp_path / f"whole{suffix}"),
        tmp_path / f"s{suffix}",
    )
    begun(made_model, made_day, output, 2)
    job = Job(made_model, [str(made_day)], output, say=lambda _: None)  # has checked the part
    part = next(job.parts.folder.glob("000000.[!j]*" if suffix != ".jsonl" else "000000.jsonl"))
    part.unlink() if harm == "gone" else os.truncate(part, part.stat().st_size // 2)
    with pytest.raises(UserError, match=rf"{part.name} is damaged: .*run the same command again"):
        list(job.run())
    assert not output.exists()
    told = []
    list(Job(made_model, [str(made_day)], output, say=told.append).run())
    assert "resuming" in told[0]  # the others are kept
    assert output.read_bytes() == expected


def test_the_output_is_on_the_disk_before_its_parts_go(made_model, made_day, tmp_path, monkeypatch):
    output, steps = tmp_path / "s.csv", []
    sync, move, remove = os.fsync, pathlib.Path.replace, pathlib.Path.unlink

    def synced(file):
        steps.append(("sync", pathlib.Path(os.readlink(f"/proc/self/fd/{file}")).name))
        sync(file)

    def moved(self, target):
        steps.append(("move", pathlib.Path(target).name))
        return move(self, target)

    def removed(self, **how):
        steps.append(("remove", self.name))
        return remove(self, **how)

    monkeypatch.setattr(shared_files.os, "fsync", synced)
    monkeypatch.setattr(pathlib.Path, "replace", moved)
    monkeypatch.setattr(pathlib.Path, "unlink", removed)
    whole(made_model, made_day, output)
    order = [("sync", "joined.tmp"), ("move", "s.csv"), ("sync", tmp_path.name)]
    places = [steps.index(step) for step in [*order, ("remove", "000000.csv")]]
    assert places == sorted(places)


def test_too_many_bad_rows_are_told_early_and_once(made_model, tmp_path):
    rows = [row | {"vector": [1.0]} for row in FRAME.to_dicts()]
    pl.DataFrame(rows).write_parquet(tmp_path / "b.parquet", row_group_size=2)
    told, output = [], tmp_path / "s.csv"
    job = Job(made_model, [str(tmp_path / "b.parquet")], output, say=told.append)
    with pytest.raises(UserError, match="6 of 6 rows have no scores, more than"):
        list(job.run())
    assert len(told) == 1
    assert told[0].startswith(
        "warning: 2 of the first 2 rows have no scores, more than --max_bad_rate=0.5 allows; if it "
        "stays so, no output is written. 2 of 2 rows have no scores: list of other than 2 numbers:"
    )
    assert not output.exists()
    assert not (job.parts.folder / "joined.tmp").exists()
    told.clear()
    list(
        Job(
            made_model, [str(tmp_path / "b.parquet")], output, max_bad_rate=1.0, say=told.append
        ).run()
    )
    assert not any("warning" in line for line in told)


def test_one_unit_is_not_warned_of(made_model, tmp_path, monkeypatch):
    monkeypatch.setattr(score_files, "UNIT", {"rows": 100, "size": 4000})
    rows = [row | {"vector": [1.0]} for row in FRAME.to_dicts()]
    pl.DataFrame(rows).write_parquet(tmp_path / "b.parquet")
    told = []
    with pytest.raises(UserError, match="6 of 6"):
        job = Job(made_model, [str(tmp_path / "b.parquet")], tmp_path / "s.csv", say=told.append)
        list(job.run())
    assert told == []


def test_a_folder_that_is_a_link_is_refused(made_model, made_day, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "s.csv.parts").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"s\.csv\.parts is a link, expected a folder"):
        Job(made_model, [str(made_day)], tmp_path / "s.csv")


def test_a_part_of_many_rows_is_joined_group_by_group(tmp_path, monkeypatch):
    monkeypatch.setattr(joined, "GROUP", 4)
    frame = pl.DataFrame({"a": range(10)})
    part = score_files.Part(tmp_path / "0.arrow")
    for start in range(0, 10, 2):
        part.write(frame[start : start + 2])
    part.close()
    output = joined.Joined(tmp_path / "j.tmp", tmp_path / "s.parquet", frame.clear(), {"m": "x"})
    output.append(tmp_path / "0.arrow")
    output.close()
    found = joined.pq.ParquetFile(tmp_path / "s.parquet")
    groups = [found.metadata.row_group(n).num_rows for n in range(found.num_row_groups)]
    assert groups == [4, 4, 2]
    assert pl.read_parquet(tmp_path / "s.parquet").equals(frame)
    assert found.metadata.metadata[b"m"] == b"x"
