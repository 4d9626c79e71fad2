"""Rows travel to their owners: one device's numbers, whatever the ids, the room and the devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from configs import base
from dtn_jax.parallel.mesh import AXES
from dtn_jax.tables.exchange import Everywhere, Local
from dtn_jax.tables.routed import Routed
from dtn_jax.tables.row_optimizers import Scalars
from dtn_jax.tables.stored_rows import lay_out
from dtn_jax.tables.updater import table_updater

N, D, V, STEPS = 512, 4, 1024, 3  # ids of all devices, numbers of a row, rows


def ids_of(kind):
    """Of STEPS steps, [STEPS, N]; V is out of range."""
    rng = np.random.default_rng(0)
    every = {
        "any": rng.integers(0, V, (STEPS, N)),
        "few": rng.integers(0, 7, (STEPS, N)),
        "some": rng.integers(0, 200, (STEPS, N)),  # each asked for by another number of devices
        "equal": np.full((STEPS, N), 700),
        "one owner's": rng.integers(0, V // 8, (STEPS, N)),
        "different": np.stack([rng.permutation(V)[:N] for _ in range(STEPS)]),
        "none": np.full((STEPS, N), V),
        "ends": rng.choice([0, V // 8 - 1, V // 8, V - 1, V], (STEPS, N)),
        "one device's": np.where(np.arange(N) < N // 8, rng.integers(0, V, (STEPS, N)), V),
        "beyond": rng.choice([5, V, V + 1, 2**31 - 1], (STEPS, N)),
    }
    return jnp.asarray(every[kind], jnp.int32)


@functools.cache
def mover(devices, sharers, platform, tables, room, dtype, copied, stride):
    """`(rows, gradients, ids) -> (rows, slots, what was looked up)`, compiled once for all ids."""
    optim = base.get_config().optim
    optim.tables, optim.eps = tables, 1e-4
    updater, lie = table_updater(optim, platform), lay_out(V, D, platform, 1024, stride)
    exchange = Local(lie, updater)
    if devices > 1:
        grid = np.asarray(jax.devices()[:devices]).reshape(devices // sharers, sharers)
        mesh = Mesh(grid, AXES)
        exchange = Routed(lie, updater, mesh, platform, room)
        exchange = Everywhere(lie, updater, mesh) if copied else exchange

    @jax.jit
    def move(rows, gradients, ids):
        table = jnp.asarray(lie.to_lines(jnp.pad(rows, ((0, lie.rows - V), (0, 0)))))

        def step(i, state):
            table, slots, found = state
            routed = exchange.route(jnp.where(ids[i] < V, ids[i], lie.rows))
            looked_up, asked = exchange.look_up(table, routed)
            scalars = Scalars(jnp.asarray(0.1, dtype), jnp.asarray(0.01, dtype), i)
            given = asked, gradients[i] + looked_up, scalars
            table, slots = exchange.update(table, slots, *given)
            return table, slots, found.at[i].set(looked_up)

        start = table, updater.init(table, lie), jnp.zeros((STEPS, N, D), dtype)
        table, slots, found = jax.lax.fori_loop(0, STEPS, step, start)
        by_row = [
            lie.to_rows(slot) if slot.shape == lie.shape else lie.in_order(slot.reshape(-1))
            for slot in jax.tree.leaves(slots)
            if slot.ndim
        ]
        return [*(a[:V] for a in (lie.to_rows(table), *by_row)), found]

    return move


def moved(
    kind, devices, sharers=0, platform="cpu", tables="adam", room=0, dtype="float32", copied=False
):
    """The rows, what belongs to them, and what each look-up found, after STEPS steps."""
    rng = np.random.default_rng(1)
    rows, gradients = (jnp.asarray(rng.normal(size=s), dtype) for s in ((V, D), (STEPS, N, D)))
    stride = 64 if kind == "any" else 1  # others stand where the ids say
    move = mover(devices, sharers or devices, platform, tables, room, dtype, copied, stride)
    found = move(rows, gradients, ids_of(kind))
    for array in found[:-1] if copied else ():
        assert array.is_fully_replicated
        first, *others = (np.asarray(shard.data) for shard in array.addressable_shards)
        assert len(others) == devices - 1
        assert all((other == first).all() for other in others)
    return [np.asarray(a) for a in found]


def nightly(*case):
    return pytest.param(*case, marks=pytest.mark.nightly)


def assert_near(many, one):
    for a, b in zip(one, many, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


KINDS = [
    *("few", "equal", "one owner's", "different", "none", "ends", "one device's", "beyond"),
    nightly("any"),
]
MESHES = {
    "2": (2, 2),
    "4": (4, 4),
    "8": (8, 8),
    "2 copies over 4": (8, 4),
    "4 copies over 2": (8, 2),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("mesh", "platform"),
    [
        pytest.param("8", "cpu", marks=pytest.mark.slow),
        nightly("2", "cpu"),
        nightly("4", "gpu"),
        nightly("8", "gpu"),
        nightly("8", "tpu"),
        ("2 copies over 4", "tpu"),
        nightly("4 copies over 2", "cpu"),
    ],
)
def test_many_devices_move_rows_as_one_does(kind, mesh, platform, float64, usual_fusions):
    one = moved(kind, 1, dtype="float64")
    assert_near(moved(kind, *MESHES[mesh], platform=platform, room=3, dtype="float64"), one)


@pytest.mark.parametrize("kind", ["few", *map(nightly, ("ends", "equal", "none", "one owner's"))])
@pytest.mark.parametrize(
    ("platform", "tables"), [nightly("cpu", "adam"), ("tpu", "adam"), nightly("tpu", "adagrad")]
)
def test_copies_on_every_device_move_alike(kind, platform, tables, float64):
    """As one device's rows do, and to the bit on all: nothing says so to the compiler."""
    given = {"tables": tables, "dtype": "float64"}
    copies = moved(kind, 8, copied=True, platform=platform, **given)
    assert_near(copies, moved(kind, 1, **given))


@pytest.mark.parametrize("kind", ["some", "few", "one owner's", "ends"])
@pytest.mark.parametrize(
    ("platform", "rooms"), [("tpu", (1, 3)), *(nightly(p, (1, 8, 0, N)) for p in ("cpu", "gpu"))]
)
def test_the_room_of_a_message_changes_no_bit(kind, platform, rooms, float64, usual_fusions):
    """Whatever the number of rounds; more than one where one row has room."""
    found = [moved(kind, 8, 4, platform, room=room, dtype="float64") for room in rooms]
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.nightly
@pytest.mark.parametrize("tables", ["adagrad", "sgd", "dense"])
def test_every_optimizer_takes_rows_of_several_rounds(tables, float64):
    one = moved("few", 1, tables=tables, dtype="float64")
    assert_near(moved("few", 8, tables=tables, room=1, dtype="float64"), one)


def test_a_row_is_stepped_once_however_many_ask_for_it_in_however_many_rounds(
    float64, usual_fusions
):
    counts = moved("some", 8, 4, "tpu", room=1, dtype="float64")[1]
    ids = np.asarray(ids_of("some"))
    assert counts.tolist() == [int(sum(row in step for step in ids)) for row in range(V)]
