"""The table of faults as a page of the docs."""

from __future__ import annotations

import pathlib

from ..measured import Measured

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "faults.md"
COLUMNS = ("fault", "where", "injected", "survived", "named", "lost", "wrong")
HEAD = """# Faults

Commands are killed while they work, starved of disk, and called twice at once; files are damaged.
This table says how each fault ended. `make test-faults` makes it anew, in two hours or so on two
cores, and resumes where it was stopped:

| word | meaning |
| --- | --- |
| survived | the numbers are those of an undisturbed call, bit by bit but for speeds |
| named | an error says what is wrong, where, and what to do; nothing is lost by it |
| lost | a traceback, a hang, or work that cannot be gone on with |
| wrong | other numbers, without a word |

"""


def page(found: Measured) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"| --- | --- |{' ---: |' * (len(COLUMNS) - 2)}"]
    for row in found.rows:
        lines.append(f"| {' | '.join(str(row[c]).replace('|', '/') for c in COLUMNS)} |")
    sums = [sum(row[c] for row in found.rows) for c in COLUMNS[2:]]
    lines.append(f"| **all** | | {' | '.join(f'**{n:,}**' for n in sums)} |")
    notes = [f"- {note}" for note in found.notes[2:]]
    told = ["", "What was lost or wrong:", "", *notes] if notes else []
    return HEAD + "\n".join([*lines, *told]) + "\n"
