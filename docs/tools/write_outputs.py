"""Runs pages in full and writes what their commands printed into them.

python docs/tools/write_outputs.py README.md docs/start.md
"""

from __future__ import annotations

import pathlib
import sys
import tempfile
import textwrap

from page_commands import ROOT, cut, pages, run


def write(page: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        outputs = run(page, pathlib.Path(folder).resolve(), short=False)
    text = (ROOT / page).read_text()
    for block, printed in reversed(outputs):
        start, end = block.span
        fence = text[:start].splitlines()[-1]
        indent = fence[: len(fence) - len(fence.lstrip())]
        text = (
            text[:start] + textwrap.indent(cut(printed, block.says["output"]), indent) + text[end:]
        )
    (ROOT / page).write_text(text)
    print(f"{page}: {len(outputs)} outputs")


if __name__ == "__main__":
    for page in sys.argv[1:] or pages():
        write(page)
