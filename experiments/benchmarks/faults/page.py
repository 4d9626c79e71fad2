"""The table of faults, the end of a page beside the JSON of the suites."""

from __future__ import annotations

import pathlib

from experiments.benchmarks.measured import Measured

PAGE = pathlib.Path(__file__).parents[2] / "results/benchmark/faults.md"
COLUMNS = ("fault", "where", "injected", "survived", "named", "lost", "wrong")
BEGIN = "<!-- made by make test-faults -->\n\n"  # what stands before it is written by hand


def page(found: Measured) -> str:
    """The page with what was found at its end."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"| --- | --- |{' ---: |' * (len(COLUMNS) - 2)}"]
    for row in found.rows:
        lines.append(f"| {' | '.join(str(row[c]).replace('|', '/') for c in COLUMNS)} |")
    sums = [sum(row[c] for row in found.rows) for c in COLUMNS[2:]]
    lines.append(f"| **all** | | {' | '.join(f'**{n:,}**' for n in sums)} |")
    notes = [f"- {note}" for note in found.notes[2:]]
    told = ["", "What was lost or wrong:", "", *notes] if notes else []
    kept, begin, _ = PAGE.read_text().partition(BEGIN)
    return kept + begin + "\n".join([*lines, *told]) + "\n"
