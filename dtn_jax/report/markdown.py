"""Markdown in which no letter of a name is a sign of the format.

Names come from whoever made the data. What the package marks up itself, `code` and **bold**, stays
marked up: see `prose`. Alone, since cards and notes need it without any table.
"""

from __future__ import annotations

import re

MARKED = re.compile(r"(`[^`\n]*`|\*\*)")
ENTITIES = {"&": "&amp;", "<": "&lt;", "://": "&#58;//", "www.": "www&#46;"}  # no link by itself
SIGNS = re.compile(
    r"&(?=#?\w+;)|<(?=[A-Za-z/!?])|://|www\."
    r"|[\\`*~$]"
    r"|\](?=[(\[:])"  # else a link, a picture or what a link refers to
    r"|(?<![^\W_])_|_(?![^\W_])"  # within a word it is a letter
    r"|^[#>]"
)


def one_line(text: str) -> str:
    """A text without what steers a terminal or ends a line."""
    return "".join(c if c.isprintable() else "·" for c in text)


def escaped(text: str) -> str:
    """Any text as plain text within a line of Markdown, and in the HTML that is made of it."""
    return SIGNS.sub(lambda m: ENTITIES.get(m[0], f"\\{m[0]}"), one_line(text))


def prose(text: str) -> str:
    """A text of ours as one line of Markdown: `code` and **bold** stay, all else is plain text."""
    parts = MARKED.split(re.sub(r"\s*[\r\n]+\s*", " ", text))
    return "".join(one_line(p) if i % 2 else escaped(p) for i, p in enumerate(parts))
