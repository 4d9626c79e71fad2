"""The arguments and the folder of `train`, and help: one clear message, and no harm done."""

import importlib
import os
import pathlib
import sys

import pytest
from command_calls import TINY, WATCHED, contents, message_of, one_line

from dtn_jax.cli import COMMANDS, command, main, train
from dtn_jax.errors import UserError
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.experts import EXPERTS
from dtn_jax.shipped import config_files

pytest_plugins = ["finished_runs"]
pytestmark = pytest.mark.usefixtures("in_the_repository")


def test_a_finished_run_is_shown_and_left_alone(shell, finished):
    before = contents(finished)
    outcome = shell(WATCHED, f"--workdir={finished}", "--config.train.log_every", "7")
    assert (outcome.code, outcome.err) == (0, "")
    assert "is finished" in outcome.out
    assert "income@all" in outcome.out
    assert contents(finished) == before


def test_a_given_option_that_changes_nothing_is_told(shell, finished):
    outcome = shell(WATCHED, f"--workdir={finished}", "--config.model.dtn.tsn=False")
    assert outcome.code == 0
    assert outcome.out.startswith("note: model.dtn.tsn changes nothing: it is an option of dtn")


def test_a_value_may_stand_apart_from_its_key():
    given = ["--config.seed", "3", "--config.optim.tables=sgd", "--config.train.epochs", "2"]
    assert command.overrides(given) == [
        ("seed", "3"),
        ("optim.tables", "sgd"),
        ("train.epochs", "2"),
    ]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ("no config: give --config=", "configs/adult.py")),
        (["--config="], ("no config: give --config=", "configs/adult.py")),
        (["--config"], ("--config: expected one argument", "See --help")),
        ([TINY, "--workdir="], ("no workdir: give --workdir=DIR",)),
        ([TINY, "--workdr=x"], ("unknown argument '--workdr'", "--workdir")),
        ([TINY, "--work=x"], ("unknown argument '--work'", "--workdir")),
        ([TINY, "adult"], ("unknown argument 'adult'", "--help")),
        ([TINY, "--data_dir=x"], ("unknown argument '--data_dir'", "--config.data.data_dir")),
        ([TINY, "--config.seed"], ("--config.seed has no value",)),
        ([TINY, "--config.KEY=3"], ("KEY stands for an option",)),
        ([TINY, "--config.=3"], ("unknown config key ''", "--help=all")),
    ],
)
def test_bad_arguments_are_named(shell, tmp_path, arguments, parts):
    message = message_of(shell(f"--workdir={tmp_path / 'new'}", *arguments))
    assert all(part in message for part in parts), message
    assert not (tmp_path / "new").exists()


def test_help_says_how_to_start(shell):
    outcome = shell("--help")
    assert (outcome.code, outcome.err) == (0, "")
    text = " ".join(outcome.out.split())
    usage, example = "usage: dtn-jax train --config FILE[:ARGUMENT] ", train.EXAMPLE
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


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_help(name, capsys):
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"dtn_jax.cli.{name}").main(["-h"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: dtn-jax " + name)
    compiles = name in ("train", "sweep", "feature_importance", "paper_tables")
    assert not compiles or "--cache_dir DIR" in text


def test_a_list_of_commands_whose_reader_has_gone_is_no_error(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(sys, "argv", ["dtn-jax", "--help"])
    with open(writer, "w") as gone, pytest.raises(SystemExit) as end:
        monkeypatch.setattr(sys, "stdout", gone)
        main()
    assert end.value.code == 0


def test_an_unknown_command_names_the_nearest(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["dtn-jax", "trian"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "unknown command 'trian'. Did you mean train?" in capsys.readouterr().err


def test_the_example_of_the_help_is_a_command_that_starts(shell, tmp_path):
    """With one bad value more, which is noticed once all the rest was read."""
    words = train.EXAMPLE.replace("runs/", f"{tmp_path}/").split()
    assert words[:2] == ["dtn-jax", "train"]
    message = message_of(shell(*words[2:], "--config.train.select=nothing"))
    assert message.startswith("unknown train.select 'nothing'")


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


def test_a_folder_of_another_config(shell, finished):
    before = contents(finished)
    arguments = (WATCHED, f"--workdir={finished}", "--config.seed=3", "--config.optim.clip=2")
    first, *lines = message_of(shell(*arguments)).splitlines()
    assert contents(finished) == before
    assert f"workdir {finished} belongs to another config" in first
    assert lines == ["  optim.clip: 0.0 there, 2.0 now", "  seed: 0 there, 3 now"]


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
