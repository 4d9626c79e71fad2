"""The arguments and the folder of `train`, and help: one clear message, and no harm done."""

import importlib
import pathlib
import re
import subprocess
import sys

import own_log
import pytest
from command_calls import ROOT, TINY, WATCHED, contents, message_of, one_line

import dtn_jax
from dtn_jax.analysis.explain import Settings
from dtn_jax.cli import COMMANDS, command, main, prepare, train
from dtn_jax.errors import UserError
from dtn_jax.export.serve.requests import Limits
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.experts import EXPERTS
from dtn_jax.places import config_files

SHARED = [name.partition("=")[0] for name in command.SHARED]

pytest_plugins = ["finished_runs"]
pytestmark = pytest.mark.usefixtures("in_the_repository")


def test_a_finished_run_is_shown_and_left_alone(shell, finished):
    before = contents(finished)
    outcome = shell(WATCHED, f"--workdir={finished}", "--config.train.log_every", "7")
    assert (outcome.code, outcome.err) == (0, "")
    assert "is finished" in outcome.out
    assert "income@all" in outcome.out
    assert contents(finished) == before


def test_a_runs_folder_is_no_config_file(shell, finished):
    message = message_of(shell(f"--config={finished}"))
    assert f"{finished} is a run's, and no config file" in message
    assert f"--workdir={finished}" in message


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ("no config: give --config=", "configs/adult.py")),
        (["configs/adult.py:dtn"], ("Did you mean --config=configs/adult.py:dtn?",)),
        ([TINY, "--workdr=x"], ("unknown argument '--workdr'", "--workdir")),
        ([TINY, "adult"], ("unknown argument 'adult'", "--help")),
        ([TINY, "--batch_size=x"], ("unknown argument '--batch_size'", "--config.data.batch_size")),
        ([TINY, "--model.dropout=0.1"], ("Did you mean --config.model.dropout?",)),
        ([TINY, "--lr=0.1"], ("Did you mean --config.optim.learning_rate?",)),
        ([TINY, "--config.train.lr=0.1"], ("'train.lr'. Did you mean optim.learning_rate?",)),
        ([TINY, "--config.seed"], ("--config.seed has no value",)),
        (["--config=configs/adult.py:MMoE"], ("argument 'MMoE'. Did you mean 'mmoe'?",)),
        (["--config=configs/adult.py:dtn,gdcn"], ("gdcn is an expert; + joins experts",)),
        (["--config=configs/adult.py", "--model=DTN"], ("Did you mean 'dtn'?",)),
        ([TINY, "--config.model.experts=gdcn,masknet"], ("'gdcn,masknet': join them with +",)),
        ([TINY, "--schema=shop.yaml"], ("--schema and --config both", "give one")),
        ([TINY, "--profile=2", "--config.replicas=2"], ("leave config.replicas out",)),
        ([TINY, "--profile=ten"], ("invalid int value: 'ten'",)),
        (["--model=mmoe"], ("no config: give --config=FILE:ARGUMENT", "--schema=FILE")),
    ],
)
def test_bad_arguments_are_named(shell, tmp_path, arguments, parts):
    message = message_of(shell(f"--workdir={tmp_path / 'new'}", *arguments))
    assert all(part in message for part in parts), message
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ("model.architecture=mmo", ("'mmo'", "Did you mean 'mmoe'?", *ARCHITECTURES)),
        ("model.experts=gdnc", ("expert 'gdnc'", "Did you mean 'gdcn'?", *EXPERTS)),
        ("data.dataset=adlut", ("'adlut'", "Did you mean 'adult'?", "census_income")),
        ("model.upstream=income", ("expected task:upstream", "got 'income'")),
        ("model.upstream=age:income", ("unknown task 'age'", "income, never_married")),
        ("model.experts=hcnet model.hcnet.fields=colour", ("'colour'", "age", "race")),
        ("data.batch_size=12", ("12 is not divisible by", "8 lanes", "8 and 16")),
        ("data.batch_size=12 parallel.devices=8", ("by 8 devices", "8 and 16")),
        ("data.eval_batch_size=12 parallel.devices=8", ("data.eval_batch_size=12", "8 and 16")),
        ("parallel.devices=9", ("parallel.devices=9", "one of 1, 2, 4, 8", "8 devices")),
        ("loss.task_weights=income=0,never_married=0", ("loss.task_weights", "all are 0")),
        # beyond a range
        ("model.experts=mlp*999999999", ("'mlp*999999999'", "at most 1,000")),
        ("model.group_experts=shared=mlp*999+gdcn*2", ("at most 1,000 in a group",)),
        ("replicas=100000", ("replicas='100000'", "1 to 1,000 seeds")),
    ],
)
def test_a_bad_option(refused, overrides, parts):
    message = one_line(refused(TINY, *(f"--config.{o}" for o in overrides.split())))
    assert all(part in message for part in parts), message


def test_own_logs_need_no_config(shell, monkeypatch, tmp_path):
    """Prepared here or elsewhere, in a workdir of their own name; that of another run is left."""
    monkeypatch.chdir(tmp_path)
    pathlib.Path("my shop.yaml").write_text(own_log.SCHEMA)
    call = ("--schema=my shop.yaml", "--model=shared_bottom", "--data_dir=data")
    message = message_of(shell(*call))
    assert "my shop.yaml is not prepared in" in message
    assert "run dtn-jax prepare --schema=" in message
    own_log.log(1200).write_parquet("log.parquet")
    prepare.main(["--schema=my shop.yaml", "--input=log.parquet", "--data_dir=data"])
    small = [f"--config.{key}" for key in TINY.split(",")[1:]]
    outcome = shell(*call, *small)
    assert outcome.code == 0, outcome.err
    workdir = pathlib.Path("runs/my shop_shared_bottom")
    assert outcome.out.startswith(f"workdir: {workdir}\n")
    assert (workdir / "results.json").exists()
    assert "This run is finished" in shell(*call, *small).out
    before = contents(workdir)
    assert "belongs to another config" in message_of(shell(*call, *small, "--config.seed=1"))
    assert contents(workdir) == before


def test_own_logs_begin_with_mmoe_where_no_model_is_named(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("shop.yaml").touch()
    named = ["--schema=shop.yaml", "--config.model.architecture=dtn"]
    assert command.parse(train.__name__, named)[0].config == "configs/logs.py:schema=shop.yaml"
    assert capsys.readouterr().out == ""
    first = command.parse(train.__name__, named[:1])[0].config
    assert first == "configs/logs.py:mmoe,model.experts=mlp*4,schema=shop.yaml"
    assert "no --model is given: mmoe with four MLPs" in capsys.readouterr().out


def test_help_says_how_to_start(shell):
    outcome = shell("--help")
    assert (outcome.code, outcome.err) == (0, "")
    text = " ".join(outcome.out.split())
    usage, example = "usage: dtn-jax train --config FILE[:ARGUMENT] ", train.EXAMPLE
    assert text.startswith(usage)
    assert text.endswith(f"example: {example}")
    overrides = "overrides an option, such as --config.optim.learning_rate=3e-4"
    assert f"--config.KEY VALUE: {overrides}" in text
    for part in (
        *config_files(pathlib.Path("configs")),
        *ARCHITECTURES,
        *EXPERTS,
        "flags of the file, such as quick",
        "--help=all",
        "--workdir DIR",
        "--debug",
    ):
        assert part in text
    assert max(map(len, outcome.out.splitlines())) <= 100


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_help(name, capsys):
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"dtn_jax.cli.{name}").main(["-h"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: dtn-jax {name} ")
    assert len(text.splitlines()) <= 100
    given = {option for option in SHARED if f"\n  --{option}" in text}
    assert given == {
        "launch": set(),
        "compare": {"plugins"},
        "rank": set(),
        "score": {"cache_dir"},
        "serve": {"cache_dir"},
        "prepare": {*command.DATA},
        "plan": {*command.DATA},
        "export": {*command.DATA, "cache_dir"},
        "replay": {*command.DATA, "cache_dir"},
    }.get(name, {*command.DATA, "cache_dir", "force"})


def test_help_of_score_says_how_many_rows_a_batch_has(capsys):
    with pytest.raises(SystemExit):
        importlib.import_module("dtn_jax.cli.score").main(["-h"])
    assert "(default: 1024 on a CPU, 8192 on a GPU" in " ".join(capsys.readouterr().out.split())


HEAVY = {"jax", "flax", "numpy", "duckdb", "tensorflow_datasets", "matplotlib", "optuna", "scipy"}
HELP = """
import sys
from dtn_jax.cli import main
for name in {names}:
    sys.argv = ["dtn-jax", name, "--help"]
    try:
        main()
    except SystemExit:
        pass
print("loaded:", *sys.modules)
"""


def test_help_imports_nothing_heavy():
    """Else it would take seconds."""
    call = [sys.executable, "-c", HELP.format(names=COMMANDS)]
    said = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.count("usage: ") == len(COMMANDS)
    assert not HEAVY & set(said.rpartition("loaded:")[2].split())


def test_a_constant_of_help_is_that_of_the_module():
    for module, name in [
        ("models.architectures", "ARCHITECTURES"),
        ("data.sets.catalog", "DATASETS"),
        ("data.prepare", "MEMORY_GB"),
        ("export.model", "LARGEST"),
        ("search.studies", "SAMPLERS"),
        ("search.studies", "PRUNERS"),
        ("metrics.significance", "DRAWS"),
        ("papertables.entries", "TABLES"),
        ("analysis.importance", "METHODS"),
    ]:
        real = getattr(importlib.import_module(f"dtn_jax.{module}"), name)
        read = command.constant(module, name)
        assert read == (list(real) if isinstance(read, list) else real)
    assert command.constant("export.serve.requests", "max_batch") == Limits().max_batch
    for name in ("split", "repeats", "rows", "seed"):
        assert command.constant("analysis.explain", name) == getattr(Settings(), name)


def test_the_list_of_commands(monkeypatch, capsys):
    for arguments in ([], ["-h"], ["--help"]):
        monkeypatch.setattr(sys, "argv", ["dtn-jax", *arguments])
        main()
        lines = capsys.readouterr().out.splitlines()
        listed = [line.split()[0] for line in lines if re.match(r"  \w+  ", line)]
        assert listed == list(COMMANDS)
        assert len(COMMANDS) <= 14
        assert max(map(len, lines)) <= 80
    monkeypatch.setattr(sys, "argv", ["dtn-jax", "--version"])
    main()
    assert capsys.readouterr().out == f"dtn-jax {dtn_jax.__version__}\n"


def test_a_clone_has_each_command_as_a_module():
    """test_what_a_shell_sees calls one so."""
    for name in COMMANDS:
        stub = (ROOT / "experiments" / f"{name}.py").read_text()
        assert stub.splitlines()[0] == f'"""`dtn-jax {name}`, in a clone."""'
        assert stub.endswith(f'if __name__ == "__main__":\n    main("{name}")\n')


def test_an_unknown_command_names_the_nearest(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["dtn-jax", "trian"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "unknown command 'trian'. Did you mean 'train'?" in capsys.readouterr().err


def test_help_shows_a_section_or_one_option(capsys):
    for wanted, shown in [
        ("seed", ["--config.seed=0"]),
        ("model.fusion", ["--config.model.fusion=paper"]),
        ("model.gdcn", ["--config.model.gdcn.layers=2"]),
    ]:
        with pytest.raises(SystemExit):
            train.main([f"--help={wanted}"])
        lines = capsys.readouterr().out.splitlines()
        assert [line for line in lines if line.startswith("--config")] == shown
    with pytest.raises(UserError, match=r"'model\.dnt'\. Did you mean 'model\.dtn'"):
        train.main(["--help=model.dnt"])
