"""A checkpoint holds rows as they lay, and is read where they lie otherwise: equal numbers."""

import chex
import jax
import numpy as np
import pytest
from drawn_states import ITEMS, drawn, others, rows

from dtn_jax.errors import UserError
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.tables import saved_rows

PROGRESS = {"best": {"mean": {"value": 0.5, "step": 1}}}
ODD = "adam, odd width"
CPU = {"parallel__table_platform": "cpu"}
TPU = {"parallel__table_platform": "tpu"}
KINDS = {
    "adam": {"model__embedding_dim": 16},
    ODD: {"model__embedding_dim": 24},
    "adagrad": {"model__embedding_dim": 16, "optim__tables": "adagrad"},
    "dense, odd width": {"model__embedding_dim": 24, "optim__tables": "dense"},
    "bfloat16": {"model__embedding_dim": 24, "optim__table_dtype": "bfloat16"},
    "wide": {"model__embedding_dim": 130, "optim__tables": "adagrad"},
}
WAYS = {
    "one device": {"parallel__devices": 1},
    "8 devices": {"parallel__devices": 8},
    "tables over 2 of 4": {"parallel__devices": 4, "parallel__table_devices": 2},
    "pmap": {"parallel__devices": 2, "parallel__strategy": "pmap"},
}


CASES = (
    *((kind, "one device", (CPU, TPU)) for kind in (ODD, "bfloat16")),
    (ODD, "8 devices", (TPU, CPU)),
    *(
        pytest.param(*given, marks=pytest.mark.nightly)
        for given in (
            *((kind, "one device", (CPU, TPU)) for kind in KINDS if kind not in (ODD, "bfloat16")),
            *((ODD, "8 devices", given) for given in ((CPU, TPU), (TPU, TPU))),
            *((ODD, way, (CPU, TPU)) for way in ("tables over 2 of 4", "pmap")),
            *((ODD, way, (TPU, CPU)) for way in ("one device", "tables over 2 of 4", "pmap")),
            *((kind, "8 devices", (CPU, TPU)) for kind in KINDS if kind != ODD),
            (ODD, "8 devices", (CPU, CPU)),
        )
    ),
)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """A table has many, and lines of one order are cut by the pieces of the other."""
    monkeypatch.setattr(saved_rows, "PIECE", 40_000)


def save(workdir, given):
    checkpoints = Checkpoints(workdir, given.plan)
    checkpoints.save_best(1, given.state)
    checkpoints.save(1, given.state, PROGRESS)
    checkpoints.close()


def restored(workdir, like):
    """The last state, of which the best one has the tables."""
    checkpoints = Checkpoints(workdir, like.plan)
    state, progress = checkpoints.restore(like.places)
    best = checkpoints.restore_best(1, state.replace(tables=like.places.tables))
    checkpoints.close()
    assert progress == PROGRESS
    assert best.slots == best.opt_state == {}
    chex.assert_trees_all_equal(best.tables, state.tables)
    found = jax.tree.map(lambda a: a.sharding, state)
    assert found == jax.tree.map(lambda a: a.sharding, like.places)
    return state


def assert_moved(state, plan, before):
    """Equal numbers; of rows those that both orders have, and other rows are zeros."""
    expected = rows(before.state, before.plan)
    for path, found in rows(state, plan).items():
        count = min(len(found), len(expected[path]))
        assert count >= (50 if "codebook" in path else ITEMS + 7)
        np.testing.assert_array_equal(found[:count], expected[path][:count])
        assert not found[count:].any()
    chex.assert_trees_all_equal(others(state), others(before.state))


@pytest.mark.parametrize(("kind", "way", "platforms"), CASES)
def test_rows_move_to_another_order_and_back(tmp_path, kind, way, platforms):
    here = drawn(**KINDS[kind], **platforms[0], **WAYS["one device"])
    there = drawn(**KINDS[kind], **platforms[1], **WAYS[way])
    save(tmp_path / "one", here)
    moved = there._replace(state=restored(tmp_path / "one", there))
    assert_moved(moved.state, there.plan, here)
    save(tmp_path / "two", moved)
    assert_moved(restored(tmp_path / "two", here), here.plan, moved)


def test_rows_that_are_no_padding_are_not_dropped(tmp_path):
    here, there = (drawn(**KINDS["adam"], **given) for given in (CPU, TPU))
    save(tmp_path, here)
    checkpoints = Checkpoints(tmp_path, there.plan)
    checkpoints.used = {"embedding": 12_289, "codebook": 50}
    with pytest.raises(UserError, match=r"is float32 .12288, 16., expected .* .12,289 rows"):
        checkpoints.restore(there.places)
    checkpoints.close()
