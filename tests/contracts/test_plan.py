"""`dtn-jax plan`: what it extrapolates is what is compiled, and its answers."""

import itertools

import jax
import pytest

from dtn_jax import plan
from dtn_jax.cli import plan as command
from dtn_jax.cli import prepare
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


def small(changes):
    changes = {"rows": 200_000, **changes}
    rows = changes.pop("rows")
    config = base_config()
    config.model.embedding_dim, config.data.batch_size = 16, 128
    config.update_from_flattened_dict(changes)
    fields = tuple(Field(f"f{i}", rows=rows // 23) for i in range(23))
    return config, Schema("plan", fields, (Task("click"), Task("order")))


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["gpu", "tpu"])
@pytest.mark.parametrize("case", CASES)
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
def test_longer_tables_cost_memory_alone():
    config, schema = small(CASES["shared_bottom"])
    short, long = (
        plan.extrapolate(config, plan.with_table_rows(schema, rows), "gpu", base=2)
        for rows in (400_000, 4_000_000)
    )
    assert long.narrow.accessed == pytest.approx(short.narrow.accessed, rel=0.02)
    assert long.split == pytest.approx(10 * short.split, rel=0.02)
    assert long.held(64) - short.held(64) == pytest.approx(0.9 * long.split / 64, rel=0.02)
    assert long.wide.routed > 1.2 * long.narrow.routed


@pytest.mark.slow
def test_a_tiny_config_is_answered(capsys, prepared_dir, monkeypatch):
    monkeypatch.setattr(plan, "SIMULATED", jax.device_count())
    words = "--config=configs/adult.py:shared_bottom --config.model.experts=mlp --table_rows=1e9"
    config = f"--config.data.data_dir={prepared_dir} --config.model.embedding_dim=64"
    command.main([*words.split(), *config.split(), "--rows=2e9", "--hours=8", "--device=v5p,h100"])
    said = capsys.readouterr().out
    assert "shared_bottom on adult" in said
    assert "2e+09 training rows in 8 h an epoch, 1e+09 table rows" in said
    assert "v5p: 16 devices are enough" in said
    assert "h100: 16 devices are enough" in said
    assert "does not" in said
    assert "A checkpoint has 772 GB" in said
    assert "40% of the peak of products" in said


@pytest.mark.slow
@pytest.mark.parametrize("model", ["shared_bottom --config.model.experts=mlp", "dtn"])
def test_more_devices_take_a_step_about_as_long(model, capsys, monkeypatch):
    monkeypatch.setattr(plan, "SIMULATED", jax.device_count())
    given = f"--config=configs/adult.py:{model} --rows=2e9 --table_rows=1e9 --device=v5p,h100"
    command.main([*given.split(), "--hours=8"])
    tables = capsys.readouterr().out.split("devices are enough")[1:]
    assert len(tables) == 2
    for table in tables:
        lines = [line.split() for line in table.splitlines()]
        shown = [line for line in lines if len(line) > 7 and line[2].endswith("%")]
        assert len(shown) == 4
        shown = [[float(cell.rstrip("%").replace(",", "")) for cell in row[:8]] for row in shown]
        # devices, GB, % of it, products, memory, network, a step, hours
        for row in shown:
            assert min(row[4], *row[6:]) > 0 <= min(row)  # products may round to 0.00 ms
        for fewer, more in itertools.pairwise(shown):
            assert more[6] <= 1.2 * fewer[6] + 0.01
            assert more[7] < fewer[7]


def test_traffic_below_that_of_the_tables_is_refused(monkeypatch):
    config, schema = small({"rows": 10**7})
    read = iter(plan.Step(0, 0, 0, 1, accessed) for accessed in (1e8, 3e8, 7e8))
    monkeypatch.setattr(plan, "read_step", lambda program: next(read))
    with pytest.raises(UserError, match="memory traffic"):
        plan.extrapolate(config, schema, "gpu", base=2)


def test_a_schema_files_set_has_its_own_name(tmp_path, capsys, monkeypatch):
    (tmp_path / "clicks.csv").write_text("user,click\n" + "a,1\nb,0\n" * 50)
    schema = tmp_path / "my.yaml"
    schema.write_text("name: my_shop\ntasks: {click: {}}\nfields: {user: {min_count: 1}}\n")
    prepare.main([f"--schema={schema}", f"--input={tmp_path}/clicks.csv"])

    def stop(*_):
        raise UserError("stop")

    monkeypatch.setattr(plan, "extrapolate", stop)
    with pytest.raises(UserError, match="stop"):
        command.main([f"--schema={schema}", "--model=dtn"])
    assert "dtn on my_shop, 1 fields" in capsys.readouterr().out


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


def test_bytes_of_collectives_are_those_of_a_steps_first_round():
    name = 'metadata={op_name="jit(train_chunk)/while/body/route/all_to_all"}'
    text = "\n".join(
        [
            f"  %a = (s32[1,4]{{1,0}}, bf16[2]{{0}}) all-to-all(%x, %y), dimensions={{0}}, {name}",
            f"  %b = pred[3]{{0}} all-reduce(%x), to_apply=%add, {name}",
            f"  %c = f32[9]{{0}} all-reduce(%x), {name.replace('route', 'while/body')}",
            f"  %d = f32[9]{{0}} all-gather(%x), {name.replace('while/body/', '')}",
        ]
    )
    assert plan.collectives(text) == {"all-to-all": 20, "all-reduce": 3}


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
