"""Makes a protocol's tables: trains what they lack, writes and shows them."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

from dtn_jax.data.sets.catalog import read_data
from dtn_jax.errors import UserError, choose
from dtn_jax.papertables import references, written
from dtn_jax.papertables.entries import TABLES, named
from dtn_jax.papertables.numbers import DIVERGENCE, content
from dtn_jax.papertables.protocol import Entry, Protocol, configured
from dtn_jax.papertables.protocol_files import default_protocol, load
from dtn_jax.papertables.runs import Runs
from dtn_jax.shipped import protocols


def read_protocol(
    dataset: str, file: str, config: str, places: Mapping[str, str]
) -> tuple[str, Protocol]:
    """Its name, and the protocol that is asked for by one of the first three; the others are "".

    Args:
      dataset: the name of a shipped protocol.
      file: of the user's own.
      config: what the default protocol compares on; the name is its data set's.
      places: options that say where data and plug-ins are.
    """
    if config:
        protocol = default_protocol(config)
        return read_data(configured(protocol, places)).schema.name, protocol
    if file:
        return pathlib.Path(file).stem, load(pathlib.Path(file))
    files = protocols()
    return dataset, load(files[choose("dataset", dataset, files)])


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
            written.write(made(runs, table, entries, remade), folder)
        # Again: meanwhile another process may have ended runs, or written over the table.
        complete = made(runs, table, entries, remade)
        written.write(complete, folder)
        written.show(complete, folder / f"{table}.md")
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
