"""What is predicted for many devices, against programs compiled for the simulated ones."""

import pytest

from configs import base
from dtn_jax.errors import UserError
from dtn_jax.input.batches import CHUNK_STEPS
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables.plan import LARGEST_ID, ROW_MULTIPLE
from experiments.suites import programs
from experiments.suites.exchanged import Collective
from experiments.suites.hlo.collectives import total_bytes
from experiments.suites.merged import largest_merged
from experiments.suites.needs import predict
from experiments.suites.programs import Program

TASKS = (Task("click"), Task("order", space="click", upstream=("click",)))


VECTOR = Field("vector", "vector", rows=2, length=100)


def program(devices, rows=30_000, further=(), **changes):
    """Of three fields of many rows, and further ones."""
    config = base.get_config()
    config.model.architecture = "shared_bottom"  # quick to compile
    config.model.embedding_dim, config.model.experts = 4, "mlp"
    config.model.mlp.hidden, config.model.tower_hidden = (16,), (8,)
    config.data.batch_size = config.data.eval_batch_size = 64
    config.parallel.devices = devices
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    fields = (*(Field(f"f{i}", rows=rows // 3) for i in range(3)), *further)
    return Program(config, Schema("toy", fields, TASKS))


def prediction(p, devices):
    return predict(p.config, p.model, p.tables, devices)


@pytest.mark.parametrize(
    ("devices", "changes"),
    [
        (4, {"further": (VECTOR,)}),
        (4, {"parallel__table_devices": 2, "model__architecture": "dtn"}),
        (8, {"optim__tables": "adagrad", "model__architecture": "single_task"}),
        (8, {"parallel__strategy": "pmap", "model__normalisation": "batch"}),
        *(
            pytest.param(devices, changes, marks=pytest.mark.slow)
            for devices, changes in (
                (2, {"optim__tables": "sgd", "model__normalisation": "batch"}),
                (4, {"optim__tables": "dense", "model__experts": "mlp+hcnet"}),
                (8, {"parallel__table_devices": 1, "model__dropout": 0.1}),
                (4, {"parallel__strategy": "pmap", "optim__tables": "dense"}),
                (8, {"parallel__table_platform": "gpu", "model__embedding_dim": 16}),
                (8, {"rows": 24, "model__architecture": "dtn"}),  # every device has them
                (2, {"parallel__table_platform": "gpu", "parallel__strategy": "pmap"}),
                (2, {"further": (VECTOR,), "parallel__strategy": "pmap"}),
            )
        ),
    ],
)
def test_predictions_are_what_compiled_programs_need(devices, changes):
    p = program(devices, **changes)
    predicted, compiled = prediction(p, devices), programs.compile_from_shapes(p)
    memory = compiled.memory_analysis()
    assert predicted.memory.arguments == pytest.approx(memory.argument_size_in_bytes, rel=0.01)
    most = 2 if p.platform == "gpu" else 1.5  # CPUs merge no products and pack no gradients
    assert 1 <= predicted.memory.temporaries / memory.temp_size_in_bytes < most
    carried = total_bytes(programs.collectives(compiled))
    assert total_bytes(predicted.collectives) == pytest.approx(carried, rel=0.01)


@pytest.mark.parametrize(("optimizer", "numbers"), [("adam", 33), ("adagrad", 1), ("sgd", 0)])
def test_a_billion_rows(optimizer, numbers):
    """By hand: slots of `numbers` a row; 96 ids a device, 0.375 to an owner, and messages of 5."""
    batch, devices, D = 8 * 1024, 256, 16
    N, C = 3 * batch // devices, 5
    changes = {"optim__tables": optimizer, "model__architecture": "shared_bottom"}
    changes |= {"model__embedding_dim": D, "data__batch_size": batch}
    found = prediction(program(devices, 10**9, **changes), devices)
    rows = -(-(10**9 // 3 * 3) // ROW_MULTIPLE) * ROW_MULTIPLE
    assert found.memory.tables == rows * D * 4 / devices
    assert found.memory.slots == rows * numbers * 4 / devices
    assert found.memory.routes == 8 * (5 * N + 3 * devices * C)
    assert found.memory.update == 4 * N * D + devices * C * (20 * D + 32)
    products = 48 * 16 + 16 * 64 + 2 * (64 * 8 + 8)  # one MLP expert, two towers
    assert found.flops == 3 * 2 * products * batch / devices
    ids, rows = 4 * devices * C, 4 * devices * C * D
    end = [("all-reduce", 4 * devices), ("all-to-all", ids)]
    expected = [*end, *[("all-to-all", rows)] * 2]
    first = [(c.kind, c.bytes) for c in found.collectives if c.name.startswith("embedding")]
    assert sorted(first) == sorted(expected)
    further = [(c.kind, c.bytes) for c in found.further]
    assert sorted(further) == sorted([*expected, *end])
    assert found.received == devices * C
    assert found.carried == sum(c.bytes for c in found.collectives)


def test_owners_of_several_copies_gather_what_all_have_received():
    found = prediction(program(8, parallel__table_devices=2, parallel__message_rows=3), 8)
    by_name = {c.name: (c.kind, c.bytes, c.devices) for c in found.collectives}
    assert by_name["embedding: rows"] == ("all-to-all", 2 * 3 * 4 * 4, 2)
    assert by_name["embedding: ids of all copies"] == ("all-gather", 8 * 3 * 4, 4)
    assert by_name["embedding: gradients of all copies"] == ("all-gather", 8 * 3 * 4 * 4, 4)
    assert found.received == 8 * 3


def test_a_table_that_every_device_has_is_summed_whole():
    found = prediction(program(8, 24, data__batch_size=64), 8)  # 24 ids a device
    rows = found.arrays[0].lie.rows
    assert rows == ROW_MULTIPLE
    assert found.memory.tables == rows * 4 * 4
    assert [(c.kind, c.bytes) for c in found.collectives[1:]] == [
        ("all-reduce", rows * 4 * 4),
        ("all-reduce", rows * 4),
    ]
    assert not found.further


def test_what_a_vector_adds_to_a_field_of_two_rows():
    """By hand: K numbers an example, K D parameters and products."""
    K, D, own = VECTOR.length, 4, 64 // 2
    plain, found = (
        prediction(program(2, further=(field,)), 2) for field in (Field("two", rows=2), VECTOR)
    )
    more = {part: size - getattr(plain.memory, part) for part, size in vars(found.memory).items()}
    numbers, parameters = 4 * K * own, 4 * K * D
    assert more == {
        "tables": 0,
        "slots": 0,
        "dense": 3 * parameters,
        "batch": CHUNK_STEPS * numbers,
        "rows": 0,
        "gradients": parameters,
        "activations": numbers,
        "merged": 0,
        "routes": 0,
        "update": 0,
        "on_chip": 0,
        "at_once": False,
    }
    assert found.flops - plain.flops == 3 * 2 * K * D * own
    assert found.carried - plain.carried == parameters


def test_a_ring_sends_all_but_an_own_part():
    assert Collective("", "all-gather", 800, 8).sent == 700
    assert Collective("", "all-reduce", 800, 8).sent == 1400
    assert Collective("", "reduce-scatter", 800, 1).sent == 0


def test_what_ids_cannot_number_is_refused():
    limit = LARGEST_ID // ROW_MULTIPLE * ROW_MULTIPLE  # table rows are padded to a multiple
    assert prediction(program(8, limit - 3), 8).memory.tables > 0
    with pytest.raises(UserError, match=r"2,147,483,648 with padding: ids are int32"):
        prediction(program(8, limit + 3), 8)
    one_copy = {"parallel__table_devices": 1, "data__batch_size": 2048}
    with pytest.raises(UserError, match=r"a batch's 6,144 ids.* more devices"):
        prediction(program(8, limit - 3, **one_copy), 8)


def test_products_of_one_input_are_counted_together():
    """Three fields of 4 numbers: by three MLPs, the shared and each task's, to 40 each, and by the
    gates, which have a weight for each expert that they mix."""
    changes = {"model__architecture": "dtn", "model__mlp__hidden": (40,)}
    p = program(2, parallel__table_platform="gpu", **changes)
    outputs, weights = largest_merged(p.model, p.tables)
    gates = outputs - 3 * 40
    assert 2 <= gates <= 16
    assert weights == 12 * outputs
    assert prediction(p, 2).memory.merged == 4 * (2 * 32 * outputs + weights)
    assert prediction(program(2, **changes), 2).memory.merged == 0  # on CPUs


def test_what_cannot_be_split_is_refused():
    with pytest.raises(UserError, match="batch_size=64 does not divide by 3"):
        prediction(program(3), 3)
    with pytest.raises(UserError, match="over 3 of 8 devices"):
        prediction(program(8, parallel__table_devices=3), 8)
    with pytest.raises(UserError, match="over 2048 of 2048"):
        prediction(program(2048, data__batch_size=2048), 2048)
    with pytest.raises(UserError, match="accumulate"):
        prediction(program(8, train__accumulate=2), 8)
