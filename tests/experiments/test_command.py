"""Bad arguments and folders of a command: one clear message, and no harm done."""

import importlib
import os
import pathlib
import subprocess
import sys

import command_calls
import pytest
from command_calls import TINY, contents, message_of, one_line

from dtn_jax.__main__ import commands, main
from dtn_jax.errors import UserError
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.experts import EXPERTS
from dtn_jax.shipped import config_files
from experiments import command, train

pytest_plugins = ["finished_runs"]

in_the_repository = command_calls.in_the_repository
finished = command_calls.finished
shell = command_calls.shell

# ---------------------------------------------------------------- arguments


def test_a_finished_run_is_shown_and_left_alone(shell, finished):
    before = contents(finished)
    outcome = shell(TINY, f"--workdir={finished}", "--config.train.log_every", "7")
    assert (outcome.code, outcome.err) == (0, "")
    assert "is finished" in outcome.out
    assert "income@all" in outcome.out
    assert contents(finished) == before


def test_a_value_may_stand_apart_from_its_key():
    given = ["--config.seed", "3", "--config.optim.tables=sgd", "--config.train.epochs", "2"]
    assert command.overrides(given) == [
        ("seed", "3"),
        ("optim.tables", "sgd"),
        ("train.epochs", "2"),
    ]


def test_no_config(shell, tmp_path):
    for arguments in ([], ["--config="]):
        message = one_line(message_of(shell(*arguments, f"--workdir={tmp_path / 'new'}")))
        assert message.startswith("no config: give --config=")
        assert "configs/adult.py" in message
    assert not (tmp_path / "new").exists()


def test_no_workdir(shell):
    for arguments in ([], ["--workdir="]):
        message = one_line(message_of(shell(TINY, *arguments)))
        assert message == "no workdir: give --workdir=DIR, the folder for the run's files"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--workdr=x", "unknown argument '--workdr'. Did you mean --workdir? See --help."),
        ("--work=x", "unknown argument '--work'. Did you mean --workdir? See --help."),
        ("adult", "unknown argument 'adult'. See --help."),
        (
            "--data_dir=x",
            "unknown argument '--data_dir'. Did you mean --config.data.data_dir? See --help.",
        ),
        ("--config.seed", "--config.seed has no value: give --config.seed=VALUE"),
        (
            "--config.KEY=3",
            "--config.KEY: KEY stands for an option. See --help=all.",
        ),
        ("--config.=3", "unknown config key ''. All keys: --help=all."),
    ],
)
def test_an_argument_that_is_not_known(shell, tmp_path, argument, message):
    outcome = shell(TINY, f"--workdir={tmp_path / 'new'}", argument)
    assert message_of(outcome) == message
    assert not (tmp_path / "new").exists()


def test_an_option_without_its_value(shell):
    message = message_of(shell("--workdir=x", "--config"))
    assert message == "argument --config: expected one argument\nSee --help."


def test_help_says_how_to_start(shell):
    outcome = shell("--help")
    assert (outcome.code, outcome.err) == (0, "")
    text = " ".join(outcome.out.split())
    usage, example = "usage: python -m experiments.train --config FILE[:ARGUMENT] ", train.EXAMPLE
    assert text.startswith(usage)
    assert text.endswith(f"example: {example}")
    assert (
        "--config.KEY VALUE overrides an option, such as --config.optim.learning_rate=3e-4" in text
    )
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


@pytest.mark.parametrize("name", commands())
@pytest.mark.parametrize("asked", ["--help", "-h"])
def test_every_command_answers_help(name, asked, capsys):
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"experiments.{name}").main([asked])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("usage: python -m experiments." + name)


def test_a_list_of_commands_whose_reader_has_gone_is_no_error(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(sys, "argv", ["dtn-jax", "--help"])
    with open(writer, "w") as gone, pytest.raises(SystemExit) as end:
        monkeypatch.setattr(sys, "stdout", gone)
        main()
    assert end.value.code == 0


def test_the_example_of_the_help_is_a_command_that_starts(shell, tmp_path):
    """With one bad value more, which is noticed once all the rest was read."""
    words = train.EXAMPLE.replace("runs/", f"{tmp_path}/").split()
    assert words[:3] == ["python", "-m", "experiments.train"]
    message = message_of(shell(*words[3:], "--config.train.select=nothing"))
    assert message.startswith("unknown train.select 'nothing'")


# ---------------------------------------------------------------- the folder


def test_a_folder_of_another_config(shell, finished):
    before = contents(finished)
    arguments = (TINY, f"--workdir={finished}", "--config.seed=3", "--config.optim.clip=2")
    message = message_of(shell(*arguments))
    assert contents(finished) == before
    assert message.splitlines() == [
        f"workdir {finished} belongs to another config; name another folder.",
        "  optim.clip: 0.0 there, 2.0 now",
        "  seed: 0 there, 3 now",
    ]


def test_a_folder_of_other_things_or_a_file(shell, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.tex").write_text("dear")
    before = contents(tmp_path)
    message = one_line(message_of(shell(TINY, f"--workdir={tmp_path / 'thesis'}")))
    assert "is not empty and holds no run" in message
    for path in ("thesis/chapter.tex", "thesis/chapter.tex/run"):
        message = one_line(message_of(shell(TINY, f"--workdir={tmp_path / path}")))
        assert f"workdir {tmp_path / path} " in message
    assert contents(tmp_path) == before


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


def test_an_unknown_command_names_the_nearest():
    call = [sys.executable, "-m", "dtn_jax", "trian"]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 2
    assert "unknown command 'trian'. Did you mean train?" in done.stderr
