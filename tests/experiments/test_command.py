"""Bad input: one clear message, a failing exit code, no traceback, and no harm done.

Commands run in this process, but for those that show what a shell sees.
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from configs import base
from dtn_jax.checkpoint import Checkpoints
from dtn_jax.config import config_files, declarations, flatten
from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.datasets.preparation.builder import BlockBuilder
from dtn_jax.datasets.preparation.catalog import DATASETS
from dtn_jax.datasets.preparation.encoders import QuantileBuckets, Vocabulary
from dtn_jax.errors import UserError
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.schema import Task
from experiments import command, train

ROOT = pathlib.Path(__file__).parents[2]
SPLITS = ("train", "validation", "test")
DEFAULTS = flatten(base.get_config())
TINY = (
    "--config=configs/adult.py:shared_bottom,model.experts=mlp,model.mlp.hidden=4,"
    "model.expert_dim=4,model.tower_hidden=4,model.embedding_dim=4,train.max_steps=2,"
    "parallel.devices=1"
)


@pytest.fixture(autouse=True)
def in_the_repository(prepared_dir, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DTN_DATA_DIR", prepared_dir)


@pytest.fixture(scope="module")
def finished(prepared_dir, tmp_path_factory):
    """The folder of a finished run of TINY; no test may change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("DTN_DATA_DIR", prepared_dir)
        workdir = tmp_path_factory.mktemp("finished") / "run"
        train.main([TINY, f"--workdir={workdir}"])
    return workdir


@dataclasses.dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def shell(capsys, monkeypatch):
    """Calls `python -m experiments.train` with arguments, in this process."""

    def call(*arguments, resumes=True):
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            command.run(train.main, resumes)
        except SystemExit as end:
            code = end.code
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def refused(shell, finished, tmp_path):
    """Calls the command on a finished run's folder and on a new one; returns the message.

    The one stays as it was, to the byte, and the other is not made.
    """

    def call(*arguments):
        before = contents(finished)
        outcome = shell(*arguments, f"--workdir={finished}")
        assert contents(finished) == before
        new = shell(*arguments, f"--workdir={tmp_path / 'new'}")
        assert not (tmp_path / "new").exists()
        assert message_of(new) == message_of(outcome)
        return message_of(new)

    return call


def message_of(outcome) -> str:
    """What is said, when that is one message and nothing else."""
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert outcome.err.startswith("error: ")
    assert outcome.err.endswith("\n")
    assert outcome.err.count("error: ") == 1
    return outcome.err[len("error: ") : -1]


def contents(folder) -> dict[str, str]:
    """{path: SHA-256 of its bytes}, folders included."""
    return {
        str(p): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "folder"
        for p in [folder, *folder.rglob("*")]
    }


def one_line(message) -> str:
    assert "\n" not in message
    return message


# ---------------------------------------------------------------- arguments


def test_a_finished_run_is_shown_and_left_alone(shell, finished):
    before = contents(finished)
    outcome = shell(TINY, f"--workdir={finished}", "--config.train.log_every", "7")
    assert (outcome.code, outcome.err) == (0, "")
    assert "is finished" in outcome.out
    assert "income@all" in outcome.out
    assert contents(finished) == before


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
        ("--workdr=x", "unknown argument '--workdr'. See --help."),
        ("--work=x", "unknown argument '--work'. See --help."),
        ("adult", "unknown argument 'adult'. See --help."),
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
        *command.EXPERTS,
        "flags of the file, such as quick",
        "--help=all",
        "--workdir DIR",
        "--debug",
    ):
        assert part in text
    assert max(map(len, outcome.out.splitlines())) <= 100


def test_the_example_of_the_help_is_a_command_that_starts(shell, tmp_path):
    """With one bad value more, which is noticed once all the rest was read."""
    words = train.EXAMPLE.replace("runs/", f"{tmp_path}/").split()
    assert words[:3] == ["python", "-m", "experiments.train"]
    message = message_of(shell(*words[3:], "--config.train.select=nothing"))
    assert message.startswith("unknown train.select 'nothing'")


# ---------------------------------------------------------------- the config


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ("configs/adlut.py:dtn", ("'configs/adlut.py'", "configs/adult.py", "configs/census")),
        ("configs/base.py", ("configs/base.py has no function get_config(argument)",)),
        ("configs/adult.py:dtn,mmoe", ("one architecture at a time, got dtn and mmoe",)),
        ("configs/adult.py:qick", ("'qick'", "Did you mean 'quick'?", "dtn", "key=value")),
        ("configs/adult.py:seeds=3", ("unknown config key 'seeds'", "Did you mean seed")),
        ("configs/adult.py:seed=x", ("'seed' expects a whole number, got 'x'",)),
    ],
)
def test_a_config_that_is_not_there_or_not_well_formed(refused, config, parts):
    message = one_line(refused(f"--config={config}"))
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ("optim.learning_rat=1", ("'optim.learning_rat'", "optim.learning_rate", "--help=all")),
        ("model.hidden=8", ("model.masknet.hidden or model.mlp.hidden",)),
        ("seed=1.5", ("'seed' expects a whole number, got '1.5'",)),
        ("optim.learning_rate=nan", ("optim.learning_rate=nan", "finite")),
        ("optim.learning_rate=inf", ("optim.learning_rate=inf", "finite")),
        ("optim.learning_rate=-1", ("optim.learning_rate=-1.0", "at least 0")),
        ("model.architecture=mmo", ("'mmo'", "Did you mean 'mmoe'?", *ARCHITECTURES)),
        ("model.experts=gdnc", ("expert 'gdnc'", "Did you mean 'gdcn'?", *command.EXPERTS)),
        ("model.experts=mlp*0", ("'mlp*0'", "a count >= 1", "got '0'")),
        ("model.experts=mlp+", ("unknown expert ''", *command.EXPERTS)),
        ("model.group_experts=buy=mlp", ("'buy'", "shared")),
        ("model.group_experts=mlp", ("expected group=experts, got 'mlp'",)),
        ("data.dataset=adlut", ("'adlut'", "Did you mean 'adult'?", "census_income")),
        ("data.options=rows=9", ("'adult' has no options", "'rows=9'")),
        ("data.dataset=synthetic data.options=row=9", ("'row'", "rows, ids, seed")),
        ("data.dataset=synthetic data.options=rows=9", ("rows is 9", "from 1,000")),
        ("data.dataset=synthetic data.options=rows=x", ("whole number", "'x'")),
        ("train.select=age", ("'age'", "mean, income, never_married")),
        ("model.upstream=income", ("expected task:upstream", "got 'income'")),
        ("model.upstream=age:income", ("unknown task 'age'", "income, never_married")),
        ("model.upstream=income:age", ("'age'", "income, never_married")),
        (
            "model.upstream=income:never_married,never_married:income",
            ("cycle: income -> never_married -> income",),
        ),
        ("model.mlp.hidden=0", ("model.mlp.hidden", "whole numbers >= 1, got (0,)")),
        ("model.gdcn.layers=0", ("model.gdcn.layers", "a whole number >= 1, got 0")),
        ("model.dropout=1.5", ("model.dropout", "a rate in [0, 1), got 1.5")),
        ("model.dtype=float16", ("'float16'", "float32, bfloat16, float64")),
        ("model.dtype=float64", ("JAX_ENABLE_X64=1",)),
        (
            "model.architecture=dtn model.dtn.task_groups=0 model.dtn.shared_group=0",
            ("task_groups and shared_group are both off",),
        ),
        ("model.experts=hcnet model.hcnet.fields=colour", ("'colour'", "age", "race")),
        ("model.experts=hcnet model.hcnet.fields=race", ("pairs", "race")),
        ("data.batch_size=12", ("12 is not divisible by", "8 lanes", "8 and 16")),
        ("data.batch_size=12 parallel.devices=8", ("by 8 devices", "8 and 16")),
        ("data.batch_size=4 parallel.devices=8", ("by 8 devices; the nearest: 8;",)),
        (
            "data.eval_batch_size=12 parallel.devices=8",
            ("data.eval_batch_size=12", "8 and 16"),
        ),
        ("parallel.devices=9", ("parallel.devices=9", "one of 1, 2, 4, 8", "8 devices")),
        ("parallel.devices=3", ("parallel.devices=3", "one of 1, 2, 4, 8")),
        ("loss.task_weights=income", ("loss.task_weights", "task=number, got 'income'")),
        ("loss.task_weights=age=2", ("'age'", "income, never_married")),
        ("loss.positive_weights=income=much", ("loss.positive_weights", "'income=much'")),
    ],
)
def test_a_bad_option(refused, overrides, parts):
    message = one_line(refused(TINY, *(f"--config.{o}" for o in overrides.split())))
    for part in parts:
        assert part in message


NUMBERS = [k for k, v in DEFAULTS.items() if type(v) in (int, float)]
OPTIONS = {k: found.option for k, found in declarations().items()}
ANYTHING = ("data.data_dir",)  # a folder that is made
WORDS = [k for k, v in DEFAULTS.items() if type(v) is str and k not in ANYTHING]


@pytest.mark.parametrize("key", NUMBERS)
def test_a_number_out_of_range(refused, key):
    for value in ["-1"] * (not OPTIONS[key].allows(-1)) + ["nan", "inf", "much"]:
        message = one_line(refused(TINY, f"--config.{key}={value}"))
        assert key in message
        assert value in message
        assert "expect" in message


@pytest.mark.parametrize("key", WORDS)
def test_a_word_that_means_nothing(refused, key):
    assert "nonsense" in one_line(refused(TINY, f"--config.{key}=nonsense"))


# ---------------------------------------------------------------- the data


@pytest.fixture
def copied_data(prepared_dir, finished, tmp_path):
    """A copy of the prepared Adult data, to be damaged; (its folder, the override that uses it)."""
    shutil.copytree(f"{prepared_dir}/adult", tmp_path / "data/adult")
    return tmp_path / "data/adult/1.0.0", f"--config.data.data_dir={tmp_path / 'data'}"


@pytest.mark.parametrize(
    "name",
    [
        *(f"adult-{split}.array_record-00000-of-00001" for split in SPLITS),
        "prepared.json",
        "schema.json",
        "encoders.json",
        "notes.json",
        "features.json",
        "dataset_info.json",
    ],
)
def test_a_prepared_file_that_is_missing_or_truncated(refused, copied_data, name):
    folder, override = copied_data
    whole = (folder / name).read_bytes()
    for damaged in (None, whole[: len(whole) // 2], b""):
        (folder / name).unlink()
        if damaged is not None:
            (folder / name).write_bytes(damaged)
        message = one_line(refused(TINY, override))
        assert str(folder / name) in message
        assert f"delete {folder}" in message
        (folder / name).write_bytes(whole)


def test_the_files_above_are_all_files_of_a_prepared_set(copied_data):
    assert len(list(copied_data[0].iterdir())) == 9


def test_a_folder_of_other_data_of_that_name(shell, finished, copied_data):
    folder, override = copied_data
    facts = json.loads((folder / "prepared.json").read_text())
    ours, facts["fingerprint"] = facts["fingerprint"], "0123456789abcdef" * 4
    (folder / "prepared.json").write_text(json.dumps(facts))
    before = contents(finished)
    message = one_line(message_of(shell(TINY, f"--workdir={finished}", override)))
    assert contents(finished) == before
    assert f"workdir {finished} belongs to another version of the data set" in message
    assert f"{ours[:12]} there, 0123456789ab now" in message


def test_a_data_folder_that_cannot_be_made(refused, tmp_path):
    (tmp_path / "file").write_text("dear")
    message = one_line(refused(TINY, f"--config.data.data_dir={tmp_path / 'file'}"))
    assert str(tmp_path / "file") in message


def test_raw_files_that_are_damaged(refused, tmp_path):
    raw = tmp_path / "raw/census_income"
    raw.mkdir(parents=True)
    (raw / "train.parquet").write_bytes(b"PAR1, and then nothing")
    arguments = (
        "--config=configs/census_income.py",
        f"--config.data.manual_dir={tmp_path / 'raw'}",
        f"--config.data.data_dir={tmp_path / 'data'}",
    )
    message = one_line(refused(*arguments))
    assert f"{raw} lacks the test split: expected test.parquet" in message
    shutil.copy(raw / "train.parquet", raw / "test.parquet")
    assert f"{raw / 'train.parquet'} is not a readable Parquet file" in one_line(
        refused(*arguments)
    )
    pl.DataFrame({"age": [33], "sex": ["Male"]}).write_parquet(raw / "train.parquet")
    message = one_line(refused(*arguments))
    assert "column 'class_worker' is missing; the columns are: age, sex" in message


class Shop(BlockBuilder, skip_registration=True):
    """Reads <manual_dir>/<split>.parquet."""

    def encoders(self):
        return {"item": Vocabulary(), "price": QuantileBuckets()}

    def tasks(self):
        return (Task("click"), Task("order", upstream=("click",)))

    def layout(self):
        return Layout(lanes=4, block_rows=16)

    def raw(self, dl_manager):
        return {s: functools.partial(self.frames, s) for s in SPLITS}

    def frames(self, split):
        yield pl.read_parquet(self.manual_dir / f"{split}.parquet")


class Leaky(Shop, skip_registration=True):
    """A shop where somebody listed a label as a field."""

    def encoders(self):
        return super().encoders() | {"order": Vocabulary()}


@pytest.fixture
def prepare(refused, tmp_path, monkeypatch):
    """Writes the shop's raw files, one of them edited; returns the message of the command."""
    monkeypatch.setitem(DATASETS, "shop", Shop)
    monkeypatch.setitem(DATASETS, "leaky", Leaky)
    rng = np.random.default_rng(0)

    def call(split, edit, dataset="shop"):
        for name in SPLITS:
            columns = {
                "item": rng.integers(9, size=64).astype(str),
                "price": rng.random(64),
                "click": rng.integers(2, size=64),
                "order": rng.integers(2, size=64),
            }
            frame = pl.DataFrame(columns)
            frame = edit(frame) if name == split else frame
            frame.write_parquet(tmp_path / f"{name}.parquet")
        folders = (f"data.manual_dir={tmp_path}", f"data.data_dir={tmp_path / 'data'}")
        overrides = (f"data.dataset={dataset}", *folders)
        message = refused(TINY, *(f"--config.{o}" for o in overrides))
        assert not list((tmp_path / "data").rglob("*.array_record*"))  # nothing half prepared
        return one_line(message)

    return call


@pytest.mark.parametrize("split", SPLITS)
def test_raw_columns_that_are_wrong(prepare, split):
    message = prepare(split, lambda frame: frame.rename({"price": "cost"}))
    assert message.startswith(
        f"shop/{split}: column 'price' is missing; the columns are: item, cost"
    )
    message = prepare(split, lambda frame: frame.with_columns(price=pl.lit("dear")))
    assert message.startswith(f"shop/{split}: column 'price' must be numeric, got String")
    assert "'dear'" in message
    message = prepare(split, lambda frame: frame.drop("click"))
    assert message.startswith(f"shop/{split}: column 'click' is missing")


@pytest.mark.parametrize("value", [2, -1, 0.5])
def test_a_label_that_is_neither_0_nor_1(prepare, value):
    rows = pl.int_range(pl.len())
    label = pl.when(rows == 40).then(value).otherwise(pl.col("click"))
    message = prepare("validation", lambda frame: frame.with_columns(click=label))
    assert message.startswith(f"shop/validation: label 'click' is {value} in row 41 (1 such row")
    assert message.endswith("expected 0, 1 or missing")


def test_a_label_listed_as_a_field(prepare):
    message = prepare("", None, dataset="leaky")
    assert message.startswith("'order' is a label and cannot also be a field")


@pytest.mark.parametrize("split", SPLITS)
def test_an_empty_split(prepare, split):
    message = prepare(split, lambda frame: frame[:0])
    assert f"the {split} split is empty" in message


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


# ---------------------------------------------------------------- a run that fails


def test_a_diverging_run_names_steps_and_tasks_and_keeps_the_last_checkpoint(shell, tmp_path):
    """Tables that explode; the same command then goes on from the checkpoint, and fails again."""
    changes = (
        "model.experts=gdcn",  # of relu units, all might die instead
        "optim.tables=sgd",
        "optim.table_learning_rate=1e30",
        "train.checkpoint_every=1",
        "train.max_steps=20",
    )
    overrides = [f"--config.{o}" for o in changes]
    arguments = (TINY, f"--workdir={tmp_path / 'run'}", *overrides)
    message = one_line(message_of(shell(*arguments)))
    found = re.fullmatch(
        r"the loss of (income|never_married|income and never_married) is not finite between steps "
        r"(\d+) and (\d+): lower .*learning_rate.*; the last checkpoint is kept",
        message,
    )
    first, last = int(found[2]), int(found[3])
    assert 1 < first == last < 20
    before = contents(tmp_path / "run/checkpoints")
    assert Checkpoints(tmp_path / "run").last.latest_step() == first - 1
    again = shell(*arguments)
    assert f"Resuming at step {first - 1} of 20" in again.out
    assert message_of(again) == message
    assert contents(tmp_path / "run/checkpoints") == before


def test_an_interrupted_run_says_how_it_goes_on(shell, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "main", interrupt)
    monkeypatch.setattr(command.os, "_exit", sys.exit)
    assert shell(resumes=False).err == "interrupted\n"
    outcome = shell()
    assert outcome.code == 130
    assert outcome.err == "interrupted; the same command resumes from the last checkpoint\n"


def test_an_interruption_that_python_ignores_comes_again():
    """As one that falls into a destructor does."""
    code = (
        "import sys, time\n"
        "from experiments import command\n"
        "class Dies:\n"
        "    def __del__(self):\n"
        "        raise KeyboardInterrupt\n"
        "def main(arguments):\n"
        "    Dies()\n"
        "    time.sleep(60)\n"
        "command.run(main)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=50)
    assert (ended.returncode, ended.stderr) == (130, b"interrupted\n")


def test_a_mistake_of_the_program_keeps_its_traceback(monkeypatch):
    """Only what the user can mend is shown as a plain message."""

    def divide(*_):
        return 1 / 0

    monkeypatch.setattr(sys, "argv", ["train.py"])
    with pytest.raises(ZeroDivisionError):
        command.run(divide)


def test_debug_shows_where_it_failed(monkeypatch, tmp_path):
    arguments = [TINY, f"--workdir={tmp_path / 'new'}", "--config.model.dropout=2", "--debug"]
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    with pytest.raises(UserError, match=r"expected a rate in \[0, 1\), got 2.0"):
        command.run(train.main)
    assert not (tmp_path / "new").exists()


def test_what_a_shell_sees(prepared_dir, finished):
    before = contents(finished)
    words = [sys.executable, "-m", "experiments.train", TINY, f"--workdir={finished}"]
    words.append("--config.model.experts=gdnc")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    start = functools.partial(subprocess.Popen, cwd=ROOT, env=environment, **pipes)
    plain, debug = start(words), start([*words, "--debug"])
    message = "unknown expert 'gdnc'. Did you mean 'gdcn'? The choices are: mlp, gdcn, "
    out, err = plain.communicate(timeout=120)
    assert plain.returncode == 2
    assert out == ""
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    _, err = debug.communicate(timeout=120)
    assert debug.returncode == 1
    assert err.startswith("Traceback (most recent call last):")
    assert f"UserError: {message}" in err
    assert contents(finished) == before
