"""The tests' own cache of compiled programs: bounded, whole, and the same for every process."""

import os
import pathlib
import subprocess
import sys
import uuid

import compile_cache
import jax

from experiments.compile_cache import delete_oldest


def test_the_oldest_files_go_first(tmp_path):
    for i, name in enumerate("abcd"):
        (tmp_path / name).write_bytes(bytes(10))
        os.utime(tmp_path / name, (i, i))
    os.utime(tmp_path / "a", (9, 0))  # it was read
    delete_oldest(tmp_path, largest=40)
    assert len(list(tmp_path.iterdir())) == 4
    delete_oldest(tmp_path, largest=25)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "d"]
    delete_oldest(tmp_path / "absent", largest=0)


def test_flags_stand_once_however_often_they_are_asked_for(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--a=3 --c")
    monkeypatch.setenv("XLA_FLAGS", compile_cache.with_flags("--a=1", "--b=2"))
    assert compile_cache.with_flags("--a=1", "--b=2") == "--c --a=1 --b=2"


def test_a_file_that_was_cut_is_compiled_anew_and_replaced():
    """By a process that was killed while it wrote."""
    cache = pathlib.Path(jax.config.jax_compilation_cache_dir)

    name = f"cut_{uuid.uuid4().hex}"  # of no other test or run

    def compiled():
        def own(x):
            return x * 3 + 1

        own.__name__ = own.__qualname__ = name
        return jax.jit(own)(2.0)

    assert compiled() == 7
    (path,) = cache.glob(f"jit_{name}-*")
    path.write_bytes(path.read_bytes()[:50])
    jax.clear_caches()
    assert compiled() == 7
    assert path.stat().st_size > 50


def test_processes_that_tests_start_use_it_too():
    code = "import jax; print(jax.config.jax_compilation_cache_dir)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == jax.config.jax_compilation_cache_dir
