"""However many devices, and by either strategy: one device's numbers, and no whole table."""

import dataclasses
import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_steps import SCHEMA, batches, build, config, leaves

from dtn_jax.errors import UserError
from dtn_jax.parallel.mesh import make_placement, share_tables
from dtn_jax.run.state import create_state
from dtn_jax.run.step import make_train_chunk, make_train_step
from dtn_jax.tables.plan import ROW_MULTIPLE

STEPS = 50
WAYS = {
    "one device": {"parallel__devices": 1},
    "shard over 8": {"parallel__devices": 8},
    "shard over 4, tables over 2": {"parallel__devices": 4, "parallel__table_devices": 2},
    "shard over 8, tables whole": {"parallel__devices": 8, "parallel__table_devices": 1},
    "pmap over 8": {"parallel__devices": 8, "parallel__strategy": "pmap"},
    "pmap over 2": {"parallel__devices": 2, "parallel__strategy": "pmap"},
    "one device, as on GPUs": {"parallel__devices": 1, "parallel__table_platform": "gpu"},
    "one device, as on TPUs": {"parallel__devices": 1, "parallel__table_platform": "tpu"},
    "shard over 8, as on GPUs": {"parallel__devices": 8, "parallel__table_platform": "gpu"},
    "shard over 8, as on TPUs": {"parallel__devices": 8, "parallel__table_platform": "tpu"},
    "pmap over 2, as on TPUs": {
        "parallel__devices": 2,
        "parallel__strategy": "pmap",
        "parallel__table_platform": "tpu",
    },
}
MODEL = {
    "model__architecture": "mmoe",  # fewer experts to trace than DTN's: what differs is below them
    "model__experts": "mlp+hcnet",
    "model__hcnet__codebook_rows": 50,  # hot rows: duplicates within and across devices
    "model__mlp__hidden": (8,),
    "model__dropout": 0.2,
    "model__embedding_dropout": 0.1,
    "model__normalisation": "batch",
    "optim__eps": 1e-4,
    "optim__table_l2": 1e-3,
    "optim__clip": 0.5,
    "data__batch_size": 16,
    "data__eval_batch_size": 16,
    "loss__sample_weights": True,
}


def uneven_batches():
    """Padded rows, missing labels and repeated ids, unevenly over the devices."""
    chunk = batches(STEPS)
    rng = np.random.default_rng(5)
    row_mask = np.asarray(chunk.row_mask).copy()
    row_mask[7, 3:] = False
    row_mask[11] = False  # a step without any row
    row_mask[12, 0] = False
    ids = np.asarray(chunk.ids).copy()
    ids[20] = 4  # one id for all
    known = rng.random(chunk.label_mask.shape) < 0.8
    return chunk.replace(
        row_mask=jnp.asarray(row_mask), ids=jnp.asarray(ids), label_mask=jnp.asarray(known)
    )


def start(steps=STEPS, **changes):
    """The plan, a placement, a state and a chunk of steps, as a run has them."""
    c = config(**MODEL | changes)
    model, plan = build(c)
    plan, at = share_tables(plan, make_placement(c), c.data.batch_size)
    state = create_state(c, model, plan)
    state = jax.device_put(state, at.state(state))
    step = make_train_step(c, model, plan, 100, at.table_mesh)
    return plan, at, state, make_train_chunk(step, steps)


def train(way, **changes):
    """The state and losses after all steps, and parameters and rows however they lie."""
    plan, at, state, train_chunk = start(**WAYS[way], **changes)
    assert not plan.everywhere
    chunk = at.put(uneven_batches(), at.chunk())
    state, metrics = at.compile(train_chunk, state)(state, chunk, STEPS)
    return state, np.asarray(metrics["losses"]), leaves(state, plan)


@pytest.fixture(scope="module")
def on_one_device():
    """(table optimizer) -> the losses and rows of one device."""

    @functools.cache
    def found(tables):
        return train("one device", model__dtype="float64", optim__tables=tables)[1:]

    return found


def slow(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


def nightly(*case):
    return pytest.param(*case, marks=pytest.mark.nightly)


QUICK = "shard over 4, tables over 2"
SLOW = "shard over 8, as on TPUs"
OTHERS = [way for way in WAYS if way not in ("one device", QUICK, SLOW, "pmap over 2")]


@pytest.mark.parametrize(
    ("way", "tables"),
    [
        (QUICK, "adam"),
        slow(SLOW, "adam"),
        slow("pmap over 2", "adam"),
        *(nightly(way, "adam") for way in OTHERS),
        *(
            nightly(way, tables)
            for way in ("shard over 8", SLOW)
            for tables in ("adagrad", "dense")
        ),
        nightly("pmap over 2", "sgd"),
        nightly("one device, as on GPUs", "dense"),
    ],
)
def test_parameters_after_many_steps_equal_one_devices_in_float64(way, tables, on_one_device):
    with jax.enable_x64(True):
        _, losses, rows = train(way, model__dtype="float64", optim__tables=tables)
        expected_losses, expected = on_one_device(tables)
        np.testing.assert_allclose(losses, expected_losses, rtol=1e-10, atol=1e-12)
        for a, b in zip(rows, expected, strict=True):
            assert b.dtype == np.float64
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("devices", [2, nightly(8)])
def test_no_device_holds_or_receives_a_whole_table(devices):
    """By the shards' shapes, by the program's memory, and by what its collectives carry."""
    rows = 64 * ROW_MULTIPLE
    c = config(**MODEL, parallel__devices=devices, optim__tables="adam")
    model, plan = build(c)
    embedding = dataclasses.replace(plan.arrays["embedding"], rows=rows)
    plan = dataclasses.replace(plan, arrays={**plan.arrays, "embedding": embedding})
    at = make_placement(c)
    shapes = jax.eval_shape(lambda: create_state(c, model, plan))
    placed = at.state_places(shapes)
    chunk = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=at.chunk()), batches(2)
    )
    step = make_train_step(c, model, plan, 100, at.table_mesh)
    compiled = at.compile(make_train_chunk(step, 2), shapes).lower(placed, chunk, 2).compile()
    whole = sum(
        a.size * a.dtype.itemsize
        for a in jax.tree.leaves((shapes.tables["embedding"], shapes.slots["embedding"]))
    )
    memory = compiled.memory_analysis()
    assert memory.argument_size_in_bytes < whole / devices + 300_000
    assert memory.temp_size_in_bytes < 300_000 < whole / devices
    collectives = [
        line
        for line in compiled.as_text().splitlines()
        if re.search(r" (all-gather|all-reduce|all-to-all|collective-permute)", line)
    ]
    assert collectives
    for line in collectives:
        sizes = re.findall(r"\[([\d,]+)\]", line.partition("=")[2])
        carried = max((np.prod([int(n) for n in s.split(",")]) for s in sizes), default=0)
        assert carried < rows // devices, line


@pytest.mark.parametrize("way", [slow("shard over 8"), nightly("shard over 8, as on TPUs")])
def test_bfloat16_tables_are_rounded_alike_on_many_devices(way):
    """Up to the rare value that rounding elsewhere has moved across a threshold."""
    options = {"optim__table_dtype": "bfloat16", "optim__tables": "sgd"}
    (one, _, rows), (*_, others) = train("one device", **options), train(way, **options)
    tables, others = ([a for a in rs if a.dtype == np.uint16] for rs in (rows, others))  # bits
    assert len(tables) == 2
    for table, other in zip(tables, others, strict=True):
        assert (table == other).mean() > 0.95
    assert {a.dtype for a in jax.tree.leaves(one.slots)} <= {jnp.dtype("float32")}


def assert_split_by_rows(state):
    table = state.tables["embedding"]
    assert sum(f.rows for f in SCHEMA.fields) < table.shape[0] == ROW_MULTIPLE
    for array in (table, *jax.tree.leaves(state.slots["embedding"])):
        assert {s.data.shape[0] for s in array.addressable_shards} == {ROW_MULTIPLE // 8}


@pytest.mark.parametrize(
    "way",
    [
        "shard over 8",
        *map(nightly, ("one device", "pmap over 8", "shard over 8, as on TPUs")),
    ],
)
def test_a_chunk_leaves_the_tables_where_they_are(way):
    _, at, state, train_chunk = start(**WAYS[way])
    compiled = at.compile(train_chunk, state)
    chunk = at.put(uneven_batches(), at.chunk())
    state, _ = compiled(state, chunk, 3)

    def places(state):
        arrays = jax.tree.leaves((state.tables, state.slots))
        return [s.data.unsafe_buffer_pointer() for a in arrays for s in a.addressable_shards]

    before = places(state)
    state, _ = compiled(state, chunk, 3)
    assert places(state) == before
    if way == "shard over 8":
        assert_split_by_rows(state)


def test_a_run_takes_all_devices_unless_told(all_devices):
    assert make_placement(config()).mesh.size == 8


def test_what_does_not_divide_is_refused():
    with pytest.raises(UserError, match=r"batch_size=12 .* 8 devices; the nearest: 8 and 16"):
        make_placement(config(data__batch_size=12, parallel__devices=8))
    for devices in (9, 3):
        with pytest.raises(UserError, match=rf"devices={devices}: expected one of 1, 2, 4, 8 "):
            make_placement(config(parallel__devices=devices))
    with pytest.raises(UserError, match=r"table_devices=3 does not divide 8 .* 1, 2, 4, 8"):
        make_placement(config(parallel__devices=8, parallel__table_devices=3))


# A table that is short beside a device's ids lies whole on every device.

COPIED = {
    "model__hcnet__hashes": 64,  # of three pairs: 192 codewords an example
    "data__batch_size": 32,
    "data__eval_batch_size": 32,
}


def trained(devices, steps=4, bad=None, **changes):
    """The plan, and the state after steps, of which `bad` has a label that is no number."""
    plan, at, state, train_chunk = start(4, **COPIED | {"parallel__devices": devices} | changes)
    chunk = jax.tree.map(lambda *a: np.concatenate(a, axis=1), batches(4, 0), batches(4, 1))
    if bad is not None:
        chunk.labels[bad, 3, 0] = np.nan
    return plan, at.compile(train_chunk, state)(state, at.put(chunk, at.chunk()), steps)[0]


@pytest.mark.parametrize(
    ("tables", "platform"),
    [
        ("adam", "cpu"),
        *(nightly(*case) for case in (("dense", "cpu"), ("adam", "tpu"), ("dense", "tpu"))),
    ],
)
def test_a_copied_codebook_gives_one_devices_numbers(tables, platform):
    with jax.enable_x64(True):
        given = {"model__dtype": "float64", "optim__tables": tables}
        plan, one = trained(1, **given)
        assert not plan.everywhere
        given["parallel__table_platform"] = platform
        shared, many = trained(2, **given)
        assert shared.everywhere == {"codebook"}
        for a, b in zip(leaves(one, plan), leaves(many, shared), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
    for array in jax.tree.leaves((many.tables["codebook"], many.slots["codebook"])):
        assert array.is_fully_replicated
        a, b = (np.asarray(shard.data) for shard in array.addressable_shards)
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("devices", "strategy", "tables"),
    [
        # The embedding travels, the codebook is copied.
        slow(2, "shard", "adam"),
        nightly(4, "shard", "adam"),
        nightly(2, "shard", "dense"),
        nightly(2, "pmap", "adam"),
    ],
)
def test_a_skipped_step_changes_nothing_on_any_device(devices, strategy, tables):
    given = {"parallel__strategy": strategy, "optim__tables": tables, "train__skip_nonfinite": 1}
    _, before = trained(devices, 2, bad=2, **given)
    plan, after = trained(devices, 3, bad=2, **given)
    assert plan.everywhere == ({"codebook"} if strategy == "shard" else set())
    assert int(after.step) == 3
    before, after = (s.replace(key=None, step=None) for s in (before, after))
    chex.assert_trees_all_equal(before, after)
