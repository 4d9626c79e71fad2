"""experiments.prepare on logs, as a person calls it: killed, on Beam, with wrong arguments."""

import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from shop_log import SCHEMA, everything, rows, schema_file, write

from dtn_jax.datasets.logs import prepare as logs
from dtn_jax.errors import UserError
from experiments import prepare

ROOT = pathlib.Path(__file__).parents[2]
BEAM = pathlib.Path(os.environ.get("BEAM_VENV", ".venv-beam")) / "bin" / "python"

IN_SEVERAL = """
import sys
from dtn_jax.datasets.logs.work import team
from experiments import prepare
team.SMALL_ROWS = 0
prepare.main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A log, its schema file, and the set that one process made of it."""
    folder = tmp_path_factory.mktemp("shop")
    source = write(folder / "raw", rows(3000), files=6)
    history = "  clicked: {history: {of: item, where: click == 1, last: 3}}\n"
    schema = schema_file(folder, SCHEMA.replace("tasks:", f"{history}tasks:"))
    return source, schema, logs.prepare(schema, source, folder / "data", processes=1)


def command(source, schema, folder, *more):
    call = ["-m", "experiments.prepare", f"--schema={schema}", f"--input={source}"]
    return [*call, f"--data_dir={folder}", *more]


def start(arguments, python=sys.executable):
    settings = dict(os.environ, PYTHONPATH=str(ROOT))
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([python, *arguments], cwd=ROOT, env=settings, **output)


def written(folder) -> int:
    """How many files and folders are in it, while a command writes and removes some.

    Unlike Path.rglob, os.walk overlooks a folder that is gone when it is read.
    """
    return sum(len(folders) + len(files) for _, folders, files in os.walk(folder))


def test_the_command_prepares_and_shows(shop, tmp_path, capsys):
    source, schema, made = shop
    prepare.main(command(source, schema, tmp_path, "--processes=1")[2:])
    shown = capsys.readouterr().out
    assert f"In {tmp_path}/logs/shop/1.0.0" in shown
    assert "Fields of shop" in shown
    assert "split by time: validation from 2026-03-09, test from 2026-03-10" in shown
    assert everything(tmp_path / "logs" / "shop") == everything(made.folder.parent)


def test_a_prepared_set_is_shown_without_its_files(shop, tmp_path, capsys):
    _, schema, made = shop
    prepare.main([f"--schema={schema}", f"--data_dir={made.folder.parents[2]}"])
    assert "Fields of shop" in capsys.readouterr().out
    with pytest.raises(UserError, match="--extend=SET needs --input=FILES, the new rows"):
        prepare.main([f"--schema={schema}", f"--data_dir={tmp_path}", "--extend=shop"])
    with pytest.raises(UserError, match=r"--schema needs --input=FILES .*: no set is prepared in"):
        prepare.main([f"--schema={schema}", f"--data_dir={tmp_path}"])


def test_a_command_extends_a_set_by_its_name(shop, tmp_path, capsys):
    _, schema, made = shop
    later = schema_file(tmp_path, schema.read_text().replace("name: shop", "name: later"))
    newer = write(tmp_path / "newer", rows(2900), files=6)
    place = made.folder.parents[2]
    prepare.main(command(newer, later, place, "--processes=1", "--extend=shop")[2:])
    assert f"extends shop, fingerprint {made.fingerprint[:16]}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give one of --infer, --schema=FILE and --dataset=NAME"),
        (["--schema=a.yaml", "--dataset=adult"], "give one of --infer, --schema=FILE"),
        (["--schema=a.yaml"], "a.yaml"),
        (["--schema=a.yaml", "--input=x"], "a.yaml"),
        (
            ["--schema=a.yaml", "--input=x", "--labels=a"],
            "--labels goes with --infer, not",
        ),
        (["--dataset=adult", "--shard=1/2"], "--shard goes with --schema, not with --dataset"),
        (["--dataset=adult", "--extend=a"], "--extend goes with --schema, not with --dataset"),
        (["--infer", "--input=x", "--out=y", "--describe"], "goes with --schema or --dataset, not"),
    ],
)
def test_wrong_arguments_are_told(arguments, told):
    with pytest.raises(UserError, match=told):
        prepare.main(arguments)


@pytest.mark.parametrize("shard", ["2", "0/3", "4/3", "a/b", "1/0", ""])
def test_a_shard_that_is_none_is_told(shop, tmp_path, shard):
    source, schema, _ = shop
    with pytest.raises(UserError, match="expected I/N"):
        prepare.main(command(source, schema, tmp_path, f"--shard={shard}")[2:])


@pytest.mark.slow
def test_a_command_that_is_killed_at_random_makes_the_same_bytes(shop, tmp_path):
    source, schema, made = shop
    arguments = command(source, schema, tmp_path, "--processes=2")
    draw, kills = random.Random(0), 0
    for _ in range(40):
        running = start(["-c", IN_SEVERAL, *arguments[2:]])
        # After as many files as the work has had so far, and some more: between any two steps.
        enough = written(tmp_path) + draw.randint(1, 8)
        while running.poll() is None:
            if kills < 8 and written(tmp_path) >= enough:
                running.send_signal(signal.SIGKILL)
                kills += 1
            time.sleep(0.01)
        output, _ = running.communicate()
        if running.returncode != -signal.SIGKILL:
            assert running.returncode == 0, output
            if kills >= 3:
                break
            shutil.rmtree(tmp_path / "logs")  # it ended before it could be killed: once more
        time.sleep(1)  # its processes notice
    assert kills >= 3
    assert everything(tmp_path / "logs" / "shop") == everything(made.folder.parent)


@pytest.mark.slow
@pytest.mark.skipif(not BEAM.exists(), reason="no Apache Beam: make beam, or set BEAM_VENV")
@pytest.mark.parametrize("mode", ["in_memory", "multi_processing"])
def test_beam_makes_the_same_bytes(shop, tmp_path, mode):
    source, schema, made = shop
    beam = f"--runner=DirectRunner --direct_num_workers=2 --direct_running_mode={mode}"
    running = start(command(source, schema, tmp_path, f"--beam={beam}"), str(BEAM.absolute()))
    output, _ = running.communicate(timeout=300)
    assert running.returncode == 0, output
    assert everything(tmp_path / "logs" / "shop") == everything(made.folder.parent)


def test_without_beam_its_option_says_what_to_install(shop, tmp_path, monkeypatch):
    source, schema, _ = shop
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(UserError, match=r"pip install -e '.\[beam\]'"):
        logs.prepare(schema, source, tmp_path, beam="--runner=DirectRunner")
