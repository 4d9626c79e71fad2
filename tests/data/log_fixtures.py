"""Fixtures of a log that tests damage: prepared once, copied for each test. A plug-in of theirs."""

import functools

import pytest
from damaged_logs import SCHEMA, Finished, everything, schema_file, small_pieces, write

from dtn_jax.datasets.logs.prepare import prepare


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A finished set, and another log of the same name: for `log` to begin with."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        small_pieces(patch)
        finished = Finished(folder / "finished")
    raw = write(folder / "log.parquet")
    return finished, raw, raw.read_bytes()


@pytest.fixture
def log(kept, tmp_path):
    """A data_dir with a finished set, and another log of the same name, as they were at first."""
    finished, raw, content = kept
    raw.write_bytes(content)
    return finished.copied(tmp_path / "finished"), raw


@pytest.fixture(scope="module")
def undisturbed(kept, tmp_path_factory):
    """(schema file's text) -> the files of the set of `log` that nothing damaged."""

    @functools.cache
    def made(text=SCHEMA):
        raw, folder = kept[1], tmp_path_factory.mktemp("undisturbed")
        found = prepare(schema_file(raw.parent, text), str(raw), folder, processes=1)
        return everything(found.folder)

    return made
