"""docs/coming_from.md: what it shows of other frameworks runs, on the log of the page."""

import os
import pathlib
import subprocess

import given
import pytest

ROOT = pathlib.Path(__file__).parents[2]
PYTHON = ROOT / os.environ.get("PEERS_VENV", ".venv-peers") / "bin/python"

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(not PYTHON.exists(), reason="make peers installs the other frameworks"),
]


class Folder:
    """What `given` writes to."""

    def __init__(self, folder):
        self.folder = folder


@pytest.mark.parametrize(
    ("name", "says"), {"from_rechub": "{'click': ", "from_fuxictr": "'click_AUC': "}.items()
)
def test_it_trains_and_evaluates(name, says, tmp_path):
    given.logs(Folder(tmp_path))
    call = [PYTHON, ROOT / f"docs/examples/{name}.py"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert says in done.stdout + done.stderr
