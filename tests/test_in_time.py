"""`--minutes` skips slow tests that would begin too late, and no others."""

import os
import pathlib
import re
import subprocess
import sys

import in_time
import pytest

TESTS = """
import pytest

def test_quick(): pass

@pytest.mark.slow
def test_slow(): pass
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
    command = [sys.executable, "-m", "pytest", "-p", "in_time", "-rs", *minutes]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment["PYTHONPATH"] = str(pathlib.Path(in_time.__file__).parent)
    got = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert re.search(rf"=+ {outcome} in ", got.stdout), got.stdout + got.stderr
    assert ("it would have begun after" in got.stdout) == ("skipped" in outcome)
