"""Tables are made, shown, and written: JSON, Markdown, LaTeX, CSV and pictures."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence

import rich.console

from dtn_jax.errors import UserError
from dtn_jax.files import read_json, sha256, write_whole
from dtn_jax.papertables import pictures
from dtn_jax.papertables.claims import tested, verdicts
from dtn_jax.papertables.grids import footnotes, grids, title_of
from dtn_jax.papertables.numbers import content, values
from dtn_jax.papertables.protocol import Entry, Protocol
from dtn_jax.papertables.runs import Runs
from dtn_jax.report import screen
from dtn_jax.report.grid import plain
from dtn_jax.report.markdown import prose
from dtn_jax.report.pictures import save_small
from dtn_jax.run.outcome import PREDICTIONS

WIDE = 80  # columns of a terminal that a table of claims needs
CORRECTED = (
    "p after Holm's correction over a family's claims on all sets; those whose runs are missing "
    "count in it. LightGBM's come from `python -m experiments.references --protocol=NAME`."
)


def write(table: Mapping, folder: pathlib.Path) -> None:
    """Writes the table's files."""
    stem = folder / table["table"]
    write_whole(stem.with_suffix(".json"), json.dumps(table, indent=1) + "\n")
    drawn = [path.name for path in pictures.draw(table, stem)]
    write_whole(stem.with_suffix(".md"), markdown(table, drawn))
    write_whole(stem.with_suffix(".tex"), latex(table))
    write_whole(stem.with_suffix(".csv"), values(table).write_csv())


def markdown(table: Mapping, drawn: Sequence[str] = ()) -> str:
    """The tables, the names of PNG files beside them as pictures, and the notes."""
    title = f"{title_of(table)}: {table['dataset']}"
    parts = [f"# {prose(title)}\n"]
    for i, grid in enumerate(grids(table)):
        parts.append((f"## {prose(grid.title)}\n\n" if i else "") + grid.markdown())
        parts += [f"{prose(grid.note)}\n"] if grid.note else []
    parts += [f"![{name.removesuffix('.png')}]({name})\n" for name in drawn]
    return "\n".join(parts) + "\n" + "".join(f"- {prose(note)}\n" for note in footnotes(table))


def latex(table: Mapping) -> str:
    """A table environment for each printed table; the table's notes stand under the first."""
    shown = grids(table)
    if shown:
        shown[0] = dataclasses.replace(shown[0], note=" ".join(footnotes(table)))
    return "\n".join(grid.latex() for grid in shown)


def show(table: Mapping, path: pathlib.Path) -> None:
    """The first two tables in the terminal, mostly AUC and differences; all is in the files."""
    for grid in grids(table)[:2]:
        screen.show(rich.console.Group(grid.terminal(screen.console().width), ""))
    for note in footnotes(table):
        screen.say(plain(note), style="dim", highlight=False)
    screen.say(f"{path}, .json, .tex, .csv and pictures")


def write_verdicts(protocols: Mapping[pathlib.Path, Protocol], path: pathlib.Path) -> None:
    """Writes and shows what the claims of several sets come to, from their tables `overall`.

    Args:
      protocols: {the folder of a set's tables: its protocol}.
      path: of the page.
    """
    claims, tables = {}, {}
    for folder, protocol in protocols.items():
        name, file = folder.name.removeprefix(f"{path.stem}_"), folder / "overall.json"
        claims[name] = [*map(dataclasses.asdict, protocol.claims)]
        table = read_json(file, "delete it, and make the table again") if file.exists() else {}
        if "claims" in table:
            claims[name], tables[name] = table["claims"], table
    if not tables:
        return
    shown = verdicts(claims)
    picture = path.with_suffix(".png")
    save_small(pictures.costs(tables), picture, dpi=pictures.DPI)
    for grid in shown:
        screen.show(grid.terminal(WIDE))
    parts = [f"## {g.title}\n\n{g.markdown() * bool(g.rows)}\n{g.note}\n" for g in shown]
    parts = ["# Claims over all sets\n", *parts, f"{CORRECTED}\n", f"![cost]({picture.name})\n"]
    write_whole(path, "\n".join(parts))
    screen.say(str(path))


def make(
    runs: Runs,
    rows: Mapping[str, Sequence[Entry]],
    names: Sequence[str],
    folder: pathlib.Path,
    command: str,
) -> None:
    """Trains what the tables lack, writes and shows them.

    Args:
      runs: of the protocol.
      rows: {table: its rows}.
      names: of the rows to run; none is all.
      folder: for the tables.
      command: that makes them, for their files.

    Raises:
      UserError: runs failed; all others are done.
    """
    problems = []
    for table, entries in rows.items():
        for failed in runs.make([e for e in entries if not names or e.name in names]):
            problems += failed
            write(content(runs, table, entries, command), folder)
        # Again: meanwhile another process may have ended runs, or written over the table.
        complete = content(runs, table, entries, command)
        if runs.protocol.claims and not runs.protocol.cut:
            done = [one.name for entry in entries for one in runs.finished(entry)]
            hashes = {name: sha256(runs.folder / name / PREDICTIONS) for name in done}
            complete |= {"claims": tested(runs, complete, entries), "scores": hashes}
        write(complete, folder)
        show(complete, folder / f"{table}.md")
    if problems:
        raise UserError("\n".join(["some runs failed:", *problems]))
