"""A run on a set that extends another starts from a run on that one: new rows are fresh."""

import contextlib

import chex
import jax
import numpy as np
import polars as pl
import pytest
from drawn_states import filled, rows
from world import log

from configs.base import get_config
from dtn_jax.data import prepare as logs
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.run import Run, build_run
from dtn_jax.run.start_from import first_state, started
from dtn_jax.run.workdir import Workdir

TPU = {"parallel__table_platform": "tpu"}
WAYS = {
    "one device": {"parallel__devices": 1},
    "8 devices": {"parallel__devices": 8},
    "lines on 8 devices": {"parallel__devices": 8} | TPU,
    "tables over 2 of 4": {"parallel__devices": 4, "parallel__table_devices": 2},
    "pmap": {"parallel__devices": 2, "parallel__strategy": "pmap"},
}


@pytest.fixture(scope="module")
def shops(tmp_path_factory):
    """The first set and one that extends it, whose lists are longer, in one folder."""
    folder = tmp_path_factory.mktemp("shops")
    extending(folder, log.without("clicked", "ago").replace("max_values: 3", "max_values: 9"))
    return folder


def extending(folder, text):
    """A set and one that extends it: of other users and items, and with longer lists."""
    lists = ["seen", "seen_weights", "viewed", "viewed_action"]
    frame = log.rows().with_columns(pl.col(lists).list.head(2))
    log.prepared(folder, frame, text)
    frame = log.rows(900, 1).with_columns(pl.col("user") + 25, pl.col("item") + 5)
    schema = log.schema_file(folder, text.replace("name: shop", "name: later"), "later.yaml")
    source = log.write(folder / "raw_later", frame)
    logs.prepare(schema, source, folder / "data", processes=1, extend="shop")


def config(folder, name, **changes):
    """STEM has tables for each task, HCNet has codebooks."""
    made = get_config()
    made.data.dataset, made.data.options = "logs", f"schema={folder / name}.yaml"
    made.data.data_dir, made.data.batch_size = str(folder / "data"), 8
    made.data.eval_batch_size = 64
    made.model.architecture, made.model.experts = "stem", "mlp+hcnet"
    made.model.embedding_dim = made.model.expert_dim = 4
    made.model.mlp.hidden = made.model.tower_hidden = (4,)
    made.model.hcnet.codebook_rows = 50
    made.train.max_steps, made.parallel.devices = 3, 1
    made.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return made


def ended(given, workdir):
    """The workdir of a run that has ended after 3 steps, with random numbers for a state."""
    run = build_run(given)
    state = filled(run.state_places)
    state = state.replace(step=jax.device_put(np.int32(3), state.step.sharding))
    folder = Workdir(workdir, run.config, run.schema, run.data.fingerprint)
    with contextlib.closing(folder), contextlib.closing(Checkpoints(workdir, run.plan)) as kept:
        kept.save(3, state, {"best": {}})
        texts = dict.fromkeys(("architecture", "experts", "dataset"), "")
        numbers = {"steps": 3, "parameters": 1, "flops_per_example": 1}
        folder.finish({"validation": {}, "best_steps": {"mean": 3}} | texts | numbers)
    return workdir


def trained(shops, workdir, **changes):
    return ended(config(shops, "shop", **changes), workdir)


@pytest.fixture(scope="module")
def before(shops, tmp_path_factory):
    """The workdir of a run on the first set, on one device."""
    return trained(shops, tmp_path_factory.mktemp("before") / "run")


def last(shops, workdir, **changes):
    """A run on the first set, and its last state."""
    run = build_run(config(shops, "shop", **changes))
    with contextlib.closing(Checkpoints(workdir, run.plan)) as checkpoints:
        return run, checkpoints.restore(run.state_places)[0]


def tables(run, state):
    """{(path of an array, view, table): its rows}; codebooks are one table."""
    found = {}
    for path, every in rows(state, run.plan).items():
        if "codebook" in path:
            found[path, "", ""] = every[: run.plan.used["codebook"]]
            continue
        start = 0
        for view in run.plan.views:
            for table, count in run.schema.tables().items():
                found[path, view, table] = every[start : start + count]
                start += count
    return found


def assert_started(shops, workdir, old_changes, **changes):
    old, state = last(shops, workdir, **old_changes)
    given = {"train__start_from": str(workdir), "seed": 5} | changes
    run = started(build_run(config(shops, "later", **given)), workdir / "none")
    fresh, new_state = [], Run.new_state
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "new_state", lambda run: fresh.append(new_state(run)) or fresh[0])
        found = first_state(run)
    assert all(a.is_deleted() for a in fresh[0].tables.values())  # tables are not there twice
    was, now = tables(old, state), tables(run, found)
    new = tables(run, run.new_state())
    assert was.keys() == now.keys() == new.keys()
    longer = 0
    for key, known in was.items():
        np.testing.assert_array_equal(now[key][: len(known)], known)
        np.testing.assert_array_equal(now[key][len(known) :], new[key][len(known) :])
        longer += len(now[key]) > len(known)
    assert longer >= 2 * len(run.plan.views)  # users and items, and what is kept for each row
    assert jax.tree.map(lambda a: a.sharding, found) == jax.tree.map(
        lambda a: a.sharding, run.state_places
    )
    chex.assert_trees_all_equal(
        *(jax.tree.map(np.asarray, (s.params, s.opt_state)) for s in (found, state))
    )
    assert int(found.step) == 3


@pytest.mark.parametrize(
    "way",
    ["one device", *(pytest.param(way, marks=pytest.mark.nightly) for way in list(WAYS)[1:])],
)
def test_known_rows_are_the_old_runs_and_others_fresh(shops, before, way):
    assert_started(shops, before, {}, **WAYS[way])
