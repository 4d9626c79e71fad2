"""A table as a terminal shows it: AUC, sizes, differences and notes; all else is in the files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import rich.box
import rich.table
import rich.text

from dtn_jax.papertables.differences import difference_text, rival_text
from dtn_jax.papertables.gap_text import LESS_OURS
from dtn_jax.papertables.notes import footnotes
from dtn_jax.papertables.printed import Text
from dtn_jax.papertables.text import SIZES, main_text, texts, title_of

LETTERS = 3  # that a column takes beside its text


def tables(found: Mapping, width: int) -> Iterator[rich.table.Table]:
    """The main table and those of differences, in as many parts as the width makes of each."""
    if not found["rows"]:
        return
    if found["table"] == "divergence":
        main, *others = texts(found)
        compared = [text for text in others if text.title.startswith(LESS_OURS)]
        for text in (main, *compared[:1]):
            yield from parts_of(text, text.header[1:], width)
        return
    text = main_text(found | {"published": []})
    title = f"{title_of(found)}: {found['dataset']}"
    wanted = [name for name in text.header if name.startswith("AUC ")] + list(SIZES)
    yield from parts_of(dataclasses.replace(text, title=title), wanted, width)
    for compared in compared_texts(found):
        yield from parts_of(compared, compared.header[1:], width)


def compared_texts(found: Mapping) -> list[Text]:
    return [text for text in (difference_text(found), rival_text(found)) if text]


def parts_of(text: Text, wanted: Sequence[str], width: int) -> Iterator[rich.table.Table]:
    """A table's wanted columns, in parts that are no wider than `width`."""
    named = {name: at for at, name in enumerate(text.header)}
    rows = [tuple(map(styled, row)) for row in text.rows]
    letters = {
        name: max(len(word) for row in rows for word in (row[at], *headed(name).split("\n")))
        for name, at in named.items()
    }
    parts, left = [], 0
    for name in wanted:
        if letters[name] + LETTERS > left:
            parts.append([])
            left = width - letters[""] - 2 * LETTERS
        parts[-1].append(name)
        left -= letters[name] + LETTERS
    for i, part in enumerate(parts):
        columns = [named[name] for name in ("", *part)]
        yield as_rich(
            dataclasses.replace(
                text,
                title="" if i else text.title,
                header=("", *map(headed, part)),
                rows=tuple(tuple(row[at] for at in columns) for row in rows),
            )
        )


def styled(cell: str) -> rich.text.Text:
    """A cell of Markdown: its code plain, its bold part bold."""
    parts = cell.replace("`", "").split("**")
    return rich.text.Text.assemble(
        *((part, "bold" if i % 2 else "") for i, part in enumerate(parts))
    )


def headed(name: str) -> str:
    """A column's name on several lines: 'AUC income@all' as AUC, income, @all."""
    return name.replace(" ", "\n").replace("@", "\n@")


def as_rich(text: Text) -> rich.table.Table:
    table = rich.table.Table(title=text.title or None, box=rich.box.SIMPLE_HEAD)
    for i, name in enumerate(text.header):
        table.add_column(name, justify="right" if i else "left", no_wrap=True)
    for row in text.rows:
        table.add_row(*row)
    return table


def notes(found: Mapping) -> list[str]:
    """Those of the tables of differences, then those of the whole."""
    own = [text.note for text in compared_texts(found) if text.note]
    return [note.replace("`", "") for note in (*own, *footnotes(found))]
