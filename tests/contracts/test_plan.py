"""`dtn-jax plan`: what it extrapolates is what is compiled, and its answers."""

import itertools

import jax
import pytest

from dtn_jax import plan
from dtn_jax.cli import plan as command
from dtn_jax.config import base_config
from dtn_jax.errors import UserError
from dtn_jax.schema import Field, Schema, Task

NEAR = 0.15
CASES = {
    "shared_bottom": {"model.architecture": "shared_bottom", "model.experts": "mlp"},
    "dtn, adagrad, batch norm": {
        "model.architecture": "dtn",
        "model.experts": "gdcn",
        "model.normalisation": "batch",
        "optim.tables": "adagrad",
    },
    "short tables everywhere": {
        "model.architecture": "shared_bottom",
        "model.experts": "mlp",
        "rows": 2000,
    },
}
SAMPLED = [*zip(CASES, ("gpu", "tpu", "gpu"))]  # of cases and platforms; all are nightly


def small(changes):
    changes = {"rows": 200_000, **changes}
    rows = changes.pop("rows")
    config = base_config()
    config.model.embedding_dim, config.data.batch_size = 16, 128
    config.update_from_flattened_dict(changes)
    fields = tuple(Field(f"f{i}", rows=rows // 23) for i in range(23))
    return config, Schema("plan", fields, (Task("click"), Task("order")))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "platform"),
    [
        pytest.param(*each, marks=[] if each in SAMPLED else pytest.mark.nightly)
        for each in itertools.product(CASES, ("gpu", "tpu"))
    ],
)
def test_eight_devices_are_as_extrapolated_from_four(case, platform):
    config, schema = small(CASES[case])
    found = plan.extrapolate(config, schema, platform, base=4)
    config.data.batch_size = config.data.eval_batch_size = 8 * found.examples
    config.parallel.devices, config.parallel.table_platform = 8, platform
    compiled = plan.make_program(config, schema).compile(plan.UNOPTIMISED)
    memory = compiled.memory_analysis()
    held = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    assert found.held(8) == pytest.approx(held, rel=NEAR)
    carried = plan.collectives(compiled.as_text())
    sent = (carried.pop("all-to-all", 0) + 2 * carried.total()) * 7 / 8
    assert found.sent(8) == pytest.approx(sent, rel=NEAR)
    assert sent > 0


@pytest.mark.slow
def test_a_tiny_config_is_answered(capsys, prepared_dir, monkeypatch):
    monkeypatch.setattr(plan, "SIMULATED", jax.device_count())
    words = "--config=configs/adult.py:shared_bottom --config.model.experts=mlp --table_rows=1e9"
    config = f"--config.data.data_dir={prepared_dir} --config.model.embedding_dim=64"
    command.main([*words.split(), *config.split(), "--rows=2e9", "--hours=8", "--device=v5p,h100"])
    said = capsys.readouterr().out
    assert "shared_bottom on adult" in said
    assert "2e+09 training rows in 8 h per epoch, 1e+09 table rows" in said
    assert "v5p: 16 devices are enough" in said
    assert "h100: 16 devices are enough" in said
    assert "does not" in said
    assert "A checkpoint has 772 GB" in said
    assert "40% of the peak of products" in said


def test_a_slice_must_fit_and_be_fast_enough():
    step = plan.Step(temporaries=0, routed=8e6, reduced=0, flops=1e11, accessed=1e9)
    config, schema = small({})
    tables = plan.make_program(config, schema, plan.make_placement(config)).tables
    found = plan.Extrapolation(1024, tables, int(2e12), 0, step, step, (8, 8))
    assert found.sent(1) == 0
    assert found.sent(4) == pytest.approx(6e6)
    assert found.sent(4, hops=2) == pytest.approx(12e6)
    assert found.held(64) == pytest.approx(2e12 / 64)

    def title(rows, hours):
        return plan.grid("h100", found, rows, hours).title

    assert title(10**9, 24) == "h100: 32 devices are enough"
    assert title(10**12, 0.01) == "h100: no slice is fast enough"
    assert plan.grid("v5e", found, 1, 1).rows[-1][0] == "256"
    huge = plan.Extrapolation(1024, tables, int(2e15), 0, step, step, (8, 8))
    assert "no slice fits" in plan.grid("h100", huge, 1, 1).title


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--rows=many"], "argument --rows: invalid float value: 'many'"),
        (["--device=h200"], "unknown device 'h200'.*h100"),
        (["--hours=-1"], "--hours=-1.0: expected at least 0.001"),
        ([], "no config: give --config"),
    ],
)
def test_bad_arguments_are_named(arguments, told):
    with pytest.raises(UserError, match=told):
        command.main(arguments)


def test_only_split_tables_are_planned():
    config, schema = small({"parallel.strategy": "pmap"})
    with pytest.raises(UserError, match=r"strategy=shard splits tables"):
        plan.extrapolate(config, schema, "gpu")
