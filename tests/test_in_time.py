"""`--minutes` skips slow tests that would begin too late, and no others."""

import os
import pathlib
import re
import subprocess
import sys

import in_time
import pytest

TESTS = """
import os, pytest

def test_quick(): pass

@pytest.mark.slow
def test_slow():
    if "FAIL" in os.environ:
        os.kill(os.getpid(), 9)  # before there is a summary
"""
FAILS = """
def test_a():
    assert 1 == 2
"""


@pytest.mark.parametrize(
    ("minutes", "outcome"),
    [
        (["--minutes=0"], "1 passed, 1 skipped"),
        (["--minutes=-3"], "1 passed, 1 skipped"),
        (["--minutes=60"], "2 passed"),
        ([], "2 passed"),
    ],
)
def test_slow_tests_that_would_begin_too_late_are_skipped(tmp_path, minutes, outcome):
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow")
    (tmp_path / "test_two.py").write_text(TESTS)
    got = run_pytest(tmp_path, "-rs", *minutes)
    assert re.search(rf"=+ {outcome} in ", got.stdout), got.stdout + got.stderr
    assert ("it would have begun after" in got.stdout) == ("skipped" in outcome)


def test_a_failure_is_told_before_the_run_is_stopped(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow")
    (tmp_path / "test_first.py").write_text(FAILS)
    (tmp_path / "test_two.py").write_text(TESTS)
    got = run_pytest(tmp_path, FAIL="1")
    assert got.returncode < 0
    assert "FAILED test_first.py::test_a (call)" in got.stdout
    assert "assert 1 == 2" in got.stdout


def run_pytest(folder, *options, **environment):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(pathlib.Path(in_time.__file__).parent)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "in_time", *options],
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        text=True,
    )
