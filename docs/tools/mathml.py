r"""Equations of Markdown, $x$ in a line and $$x$$ on lines of their own, as MathML.

Browsers draw MathML themselves: no script, no font. A dollar that stands before a space, or closes
before a digit, is a dollar; so is \$.
"""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ElementTree

import markdown
from latex2mathml import converter
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor

BLOCK = r"(?<![\\$])\$\$(?P<latex>[^$]+?)\$\$(?!\$)"
INLINE = r"(?<![\\$\w])\$(?P<latex>[^\s$](?:[^$\n]*[^\s$\\])?)\$(?![\d$])"
AFTER_CODE, BEFORE_ESCAPES = 190, 180  # the priorities of Markdown's own patterns
UNKNOWN = re.compile(r"\\[A-Za-z]+")


class Equations(Extension):
    """Reads them where they are in no code."""

    def extendMarkdown(self, md: markdown.Markdown) -> None:
        for place, (name, pattern) in enumerate({"block": BLOCK, "inline": INLINE}.items()):
            priority = (AFTER_CODE + BEFORE_ESCAPES) // 2 - place
            md.inlinePatterns.register(Equation(pattern, md, name), f"{name}_math", priority)
        md.ESCAPED_CHARS = [*md.ESCAPED_CHARS, "$"]


class Equation(InlineProcessor):
    def __init__(self, pattern: str, md: markdown.Markdown, display: str):
        super().__init__(pattern, md)
        self.display = display

    def handleMatch(self, found: re.Match, data: str) -> tuple[str, int, int]:
        text = mathml(found["latex"], self.display)
        if self.display == "block":  # a wide one scrolls in its element
            text = f'<span class="equation">{text}</span>'
        return self.md.htmlStash.store(text), *found.span()


def mathml(latex: str, display: str = "inline") -> str:
    """An equation's MathML element.

    Raises:
      ValueError: a command of LaTeX that the converter does not know.
    """
    made = converter.convert_to_element(" ".join(latex.split()), display=display)
    for node in made.iter():
        node.text = html.unescape(node.text or "")
        if unknown := UNKNOWN.search(node.text):
            raise ValueError(f"equation {latex.strip()}: cannot read {unknown[0]}")
    return ElementTree.tostring(made, encoding="unicode")
