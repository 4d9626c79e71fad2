"""--cache_dir: where commands keep compiled programs."""

import os
import pathlib
import subprocess
import sys

import jax
import pytest
from command_calls import ROOT, TINY

from dtn_jax.cli import compile_cache

COUNTED = """
import sys, jax
from dtn_jax.cli import train

hits, misses = [], []
def note(event, **_):
    {"cache_hits": hits, "cache_misses": misses}.get(event.rpartition("/")[2], []).append(event)
jax.monitoring.register_event_listener(note)
train.main(sys.argv[1:])
print(f"{len(hits)} hits, {len(misses)} misses")
"""


def told():
    return jax.config.jax_compilation_cache_dir


def test_a_folder_that_jax_was_told_stays_unless_another_is_given(tmp_path):
    tests_own = told()
    compile_cache.use()
    assert told() == tests_own
    compile_cache.use(str(tmp_path / "mine"))
    assert pathlib.Path(told()) == tmp_path / "mine"
    assert pathlib.Path(told()).is_dir()


@pytest.mark.parametrize("given", ["mine", compile_cache.OFF])
def test_jax_that_is_imported_later_is_told_too(tmp_path, given):
    code = "from dtn_jax.cli import compile_cache; compile_cache.use({!r}); import jax; print({})"
    told = "jax.config.jax_compilation_cache_dir"
    call = [sys.executable, "-c", code.format(given, told)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, env=environment)
    expected = None if given == compile_cache.OFF else tmp_path / given
    assert done.stdout == f"{expected}\n", done.stderr


def test_the_default_is_in_the_users_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    jax.config.update("jax_compilation_cache_dir", None)
    compile_cache.use()
    assert pathlib.Path(told()) == tmp_path / "dtn_jax/compiled"


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    compile_cache.use(str(tmp_path / "file/folder"))
    assert told() is None
    said = capsys.readouterr().out
    assert said.startswith(f"warning: compiled programs are not kept, {tmp_path / 'file/folder'}")
    assert "--cache_dir=none" in said
    assert len(said.splitlines()) == 1


@pytest.mark.slow
def test_a_second_start_compiles_nothing_anew(prepared_dir, tmp_path):
    own = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    own |= {"DTN_DATA_DIR": prepared_dir, "PYTHONPATH": str(ROOT)}

    def start(name, cache):
        arguments = (TINY, f"--workdir={tmp_path / name}", f"--cache_dir={cache}")
        call = [sys.executable, "-c", COUNTED, *arguments]
        done = subprocess.run(call, capture_output=True, text=True, cwd=ROOT, env=own)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""  # no warning of XLA's, either
        return done.stdout.splitlines()[-1]

    assert start("first", tmp_path / "kept").startswith("0 hits, ")
    kept = {path.name.split("-")[0] for path in (tmp_path / "kept").rglob("*-cache")}
    assert "jit_train_chunk" in kept
    again = start("second", tmp_path / "kept")
    assert int(again.split()[0]) >= len(kept)
    first, second = (tmp_path / name / "predictions.parquet" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
