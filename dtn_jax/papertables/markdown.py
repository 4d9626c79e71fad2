"""A table as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dtn_jax.papertables.notes import footnotes
from dtn_jax.papertables.printed import Text
from dtn_jax.papertables.text import texts, title_of
from dtn_jax.report.markdown import prose, table


def markdown(found: Mapping, pictures: Sequence[str] = ()) -> str:
    """The tables, the names of PNG files beside them as pictures, and the notes."""
    title = prose(f"{title_of(found)}: {found['dataset']}")
    parts = [f"# {title}\n"]
    for i, text in enumerate(texts(found)):
        parts.append((f"## {prose(text.title)}\n\n" if i else "") + markdown_table(text))
        parts += [f"{prose(text.note)}\n"] if text.note else []
    parts += [f"![{name.removesuffix('.png')}]({name})\n" for name in pictures]
    return "\n".join(parts) + "\n" + "".join(f"- {prose(note)}\n" for note in footnotes(found))


def markdown_table(text: Text) -> str:
    return f"{table(text.header, text.rows, cell=prose)}\n"
