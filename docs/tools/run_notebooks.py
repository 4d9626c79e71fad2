"""Runs notebooks at full size, and keeps what their cells printed and drew for their pages.

python docs/tools/run_notebooks.py dtn_on_your_logs
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pathlib
import sys
import tempfile
from unittest import mock

import matplotlib.pyplot as plt
from page_shell import COLUMNS
from repository_pages import KEPT, NOTEBOOKS, PICTURES, ROOT, cells, fingerprint
from small_pictures import shrink

DPI = 120


def run(name: str) -> None:
    """Its cells in order, in one empty folder; outputs and pictures are written when all ran."""
    text = (ROOT / NOTEBOOKS / f"{name}.py").read_text()
    given, outputs = {"__name__": "__main__"}, []
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        mock.patch.dict(os.environ, {"COLUMNS": COLUMNS}),
        mock.patch.object(plt, "show"),
    ):
        for cell in cells(text):
            if cell.cell_type != "code":
                continue
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(cell.source, f"{name}.py", "exec"), given)
            said = printed.getvalue().replace(f"{pathlib.Path.cwd()}/", "").strip("\n")
            lines = [line.rstrip() for line in said.splitlines()]
            outputs.append({"printed": lines, "drawn": bool(plt.get_fignums())})
            if plt.get_fignums():
                keep(name)
    kept = {"code": fingerprint(text), "outputs": outputs}
    (ROOT / KEPT / f"{name}.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    print(f"{name}: {len(outputs)} cells")


def keep(name: str) -> None:
    """The open figure, as the notebook's picture."""
    path = ROOT / PICTURES / f"{name}.png"
    plt.savefig(path, dpi=DPI)
    plt.close()
    shrink(path)


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(path.stem for path in (ROOT / NOTEBOOKS).glob("*.py")):
        run(name)
