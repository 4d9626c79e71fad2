"""Prepared data that are damaged: one clear message, and no harm done."""

import shutil

import pytest
from command_calls import TINY, one_line

pytest_plugins = ["finished_runs"]
pytestmark = pytest.mark.usefixtures("in_the_repository")


SPLITS = ("train", "validation", "test")


@pytest.fixture
def copied_data(prepared_dir, finished, tmp_path):
    """A copy of the prepared Adult data, to be damaged; (its folder, the override that uses it)."""
    shutil.copytree(f"{prepared_dir}/adult", tmp_path / "data/adult")
    return tmp_path / "data/adult/1.0.0", f"--config.data.data_dir={tmp_path / 'data'}"


FILES = (
    *(f"logs-{split}.array_record-00000-of-00001" for split in SPLITS),
    *("prepared.json", "schema.json", "encoders.json", "notes.json", "checksums.json"),
    *("schema_file.yaml", "vocabulary/race.arrow"),
)


@pytest.mark.parametrize("name", FILES)
def test_a_prepared_file_that_is_missing_or_truncated(refused, copied_data, name):
    folder, override = copied_data
    there = {path.name for path in folder.iterdir()}
    assert there - {"rejects.jsonl"} == {file.partition("/")[0] for file in FILES}
    whole = (folder / name).read_bytes()
    for damaged in (None, whole[: len(whole) // 2], b""):
        (folder / name).unlink()
        if damaged is not None:
            (folder / name).write_bytes(damaged)
        message = one_line(refused(TINY, override))
        assert str(folder / name) in message
        assert f"delete {folder}" in message
        (folder / name).write_bytes(whole)
