"""Tables are made, shown, and written: JSON, Markdown, LaTeX, CSV, pictures, and a page of all."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shlex
from collections.abc import Mapping, Sequence

import rich.console

from dtn_jax.errors import UserError
from dtn_jax.files import write_whole
from dtn_jax.papertables import pictures, references
from dtn_jax.papertables.entries import TABLES, named
from dtn_jax.papertables.grids import SIZES, footnotes, grids, main_grid, title_of
from dtn_jax.papertables.numbers import DIVERGENCE, FORMAT, content, differences, values
from dtn_jax.papertables.protocol import Entry
from dtn_jax.papertables.runs import Runs
from dtn_jax.report import screen
from dtn_jax.report.grid import Grid, in_latex, plain
from dtn_jax.report.markdown import prose
from dtn_jax.report.sections import Section, page

PLACES = ("--workdir", "--data_dir", "--manual_dir", "--cache_dir", "--entries")


def write(made: Mapping, folder: pathlib.Path) -> None:
    """Writes the table's files, and report.html anew."""
    stem = folder / made["table"]
    write_whole(stem.with_suffix(".json"), json.dumps(made, indent=1) + "\n")
    drawn = [path.name for path in pictures.draw(made, stem)]
    write_whole(stem.with_suffix(".md"), markdown(made, drawn))
    write_whole(stem.with_suffix(".tex"), latex(made))
    write_whole(stem.with_suffix(".csv"), values(made).write_csv())
    write_whole(folder / f"{made['table']}_differences.csv", differences(made).write_csv())
    write_whole(folder / "report.html", report(folder))


def markdown(made: Mapping, drawn: Sequence[str] = ()) -> str:
    """The tables, the names of PNG files beside them as pictures, and the notes."""
    title = f"{title_of(made)}: {made['dataset']}"
    parts = [f"# {prose(title)}\n"]
    for i, grid in enumerate(grids(made)):
        parts.append((f"## {prose(grid.title)}\n\n" if i else "") + grid.markdown())
        parts += [f"{prose(grid.note)}\n"] if grid.note else []
    parts += [f"![{name.removesuffix('.png')}]({name})\n" for name in drawn]
    return "\n".join(parts) + "\n" + "".join(f"- {prose(note)}\n" for note in footnotes(made))


def latex(made: Mapping) -> str:
    """A table environment for each printed table; the table's notes stand under the first."""
    shown = grids(made)
    if shown:
        shown[0] = dataclasses.replace(shown[0], note=" ".join(footnotes(made)))
    return "\n".join(grid.latex() for grid in shown) or f"% {in_latex(' '.join(footnotes(made)))}\n"


def report(folder: pathlib.Path) -> str:
    """A page of the tables that the folder has, pictures inside; older ones are left out."""
    paths = [folder / f"{name}.json" for name in TABLES]
    every = [json.loads(path.read_text()) for path in paths if path.exists()]
    every = [made for made in every if made.get("format") == FORMAT]
    parts = [part for made in every for part in sections(made, folder)]
    return page(f"dtn_jax: tables of {every[0]['dataset']}", parts, contents=True)


def sections(made: Mapping, folder: pathlib.Path) -> list[Section]:
    """A table with its settings, pictures and notes."""
    settings = [
        (f"`{row['name']}`", " ".join(f"`{k}={v}`" for k, v in row["config"].items()))
        for row in made["rows"]
    ]
    title = "Settings that are not the defaults"
    shown = [*grids(made), Grid(["", title], settings, title, marked=True)]
    shown[0] = dataclasses.replace(shown[0], title="")  # it is the section's
    paths = sorted(folder.glob(f"{made['table']}_*.png"))
    versions = ", ".join(f"{name} {' and '.join(v)}" for name, v in made["versions"].items())
    return [
        Section(title_of(made), grids=shown),
        Section("", pictures={path.stem: path.read_bytes() for path in paths}),
        Section("", [*footnotes(made), versions], marked=True),
    ]


def show(made: Mapping, path: pathlib.Path) -> None:
    """The main table and the differences in the terminal; all else is in the files."""
    shown = grids(made)
    if made["table"] == DIVERGENCE:
        shown = shown[:1]
    elif shown:
        main = main_grid(made | {"published": []})
        wanted = [i for i, n in enumerate(main.header) if not n or n in SIZES or n[:4] == "AUC "]
        shown = [main.take(wanted), *(g for g in shown[1:2] if g.title.startswith("AUC less"))]
    for grid in shown:
        header = [name.replace(" ", "\n").replace("@", "\n@") for name in grid.header]
        narrow = dataclasses.replace(grid, header=header)
        screen.show(rich.console.Group(narrow.terminal(screen.console().width), ""))
    for note in footnotes(made):
        screen.say(plain(note), style="dim", highlight=False)
    screen.say(f"{path}, .tex, .csv, pictures, and {path.with_name('report.html')}")


def remade(arguments: Sequence[str]) -> str:
    """The command that makes the whole table, without the folders."""
    words = iter(arguments)
    kept = []
    for word in words:
        name, equals, _ = word.partition("=")
        if name not in PLACES:
            kept.append(word)
        elif not equals:
            next(words, None)  # its value
    return shlex.join(["dtn-jax", "paper_tables", *kept])


def rows_of(
    runs: Runs, tables: Sequence[str], entries: str
) -> tuple[dict[str, list[Entry]], list[str]]:
    """{table: its rows}, and the names of the rows to run; none is all.

    Args:
      runs: of the protocol.
      tables: names of TABLES.
      entries: the rows to run, by comma; "" is all.

    Raises:
      UserError: no table has such a row.
    """
    rows = {table: TABLES[table](runs.protocol, runs.data.schema, runs.size) for table in tables}
    return rows, named(entries, [entry.name for own in rows.values() for entry in own])


def make(
    runs: Runs,
    rows: Mapping[str, Sequence[Entry]],
    names: Sequence[str],
    folder: pathlib.Path,
    remade: str,
) -> None:
    """Trains what the tables lack, writes and shows them.

    Args:
      runs: of the protocol.
      rows, names: as `rows_of` has them.
      folder: for the tables.
      remade: the command that makes them, for their files.

    Raises:
      UserError: runs failed; all others are done.
    """
    problems = []
    for table, entries in rows.items():
        for failed in runs.make([e for e in entries if not names or e.name in names]):
            problems += failed
            write(made(runs, table, entries, remade), folder)
        # Again: meanwhile another process may have ended runs, or written over the table.
        complete = made(runs, table, entries, remade)
        write(complete, folder)
        show(complete, folder / f"{table}.md")
    if problems:
        raise UserError("\n".join(["some runs failed:", *problems]))


def made(runs: Runs, table: str, entries: Sequence[Entry], remade: str) -> dict:
    """The table's content, from the runs that are finished."""
    tunings = {n: runs.tuning(n) for n in dict.fromkeys(e.tuned_as for e in entries)}
    of_gaps = table == DIVERGENCE  # whose rows are on several sets of data
    found = content(
        runs.data.schema.name,
        table,
        runs.protocol,
        entries,
        {entry.name: runs.found(entry) for entry in entries},
        {name: tuning for name, tuning in tunings.items() if tuning},
        # Models from outside are measured without weights, so none stands in such a table.
        {} if runs.weighted or of_gaps else references.of_data(runs.data),
        {entry.name: runs.notes_of(entry) for entry in entries} if of_gaps else {},
    )
    return found | {"command": remade}
