"""What killed processes leave that were preparing a set is removed; a live one's is not."""

import fcntl

import pytest
from toy_set import Toy

from dtn_jax.datasets.preparation import catalog, unfinished
from dtn_jax.errors import UserError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The folder of a set that another process has begun to prepare."""
    monkeypatch.setitem(catalog.DATASETS, "toy", Toy)
    (tmp_path / "toy/incomplete.AB12CD_1.0.0").mkdir(parents=True)
    (tmp_path / "toy/incomplete.AB12CD_1.0.0/toy-train.array_record").write_text("half")
    return tmp_path / "toy"


def left(home):
    return {p.name for p in home.iterdir()} - {unfinished.LOCK}


def test_a_dead_process_leaves_nothing(home):
    catalog.load("toy", data_dir=str(home.parent))
    assert left(home) == {"1.0.0"}


def test_a_live_process_keeps_what_it_has(home):
    with unfinished.open_lock(home / unfinished.LOCK) as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        catalog.load("toy", data_dir=str(home.parent))
    assert left(home) == {"1.0.0", "incomplete.AB12CD_1.0.0"}


def test_a_full_disk_is_told_and_leaves_nothing(home, monkeypatch):
    def full(*_, **__):
        raise RuntimeError(f"write() failed: No space left on device; writing {home}")

    writer = Toy(data_dir=str(home.parent))._example_writer()
    monkeypatch.setattr(type(writer), "write", full)
    with pytest.raises(UserError, match=r"toy cannot be prepared in .*No space left on device"):
        catalog.load("toy", data_dir=str(home.parent))
    assert left(home) == set()
