"""The fenced blocks of a page, and the comments above them; `page_commands.py` says what they mean.

What this reader does not understand is an error: no block of a page goes unread, or unrun, unseen.
"""

from __future__ import annotations

import dataclasses
import json
import re
import textwrap

import yaml

BASH, PYTHON, YAML, JSON, TEXT = LANGUAGES = ("bash", "python", "yaml", "json", "text")
FENCE = re.compile(r"[ \t>]*(?:`{3,}|~{3,})")  # as Markdown allows it, of any length, quoted
OPENING = re.compile(
    rf'(?P<indent> *)```(?P<language>{"|".join(LANGUAGES)})( title="(?P<title>.+)")?'
)
COMMENT = re.compile(r"<!-- (?P<word>\w[\w ]*?)(?:: (?P<rest>.*?))? -->", re.S)
OF = {"given": LANGUAGES, "shorter": (BASH,), "not run": LANGUAGES} | dict.fromkeys(
    ("output", "varies"), (TEXT,)
)
REASONS = (
    "needs a GPU",
    "needs a TPU",
    "needs a cluster",
    "needs data",
    "needs an account",
    "takes hours",
    "runs these tests",
    "shows form",
)


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
      language: that of its fence.
      text: what it holds.
      title: the name of the file that it is, '' for none.
      says: what the comments above it say, {word: rest}.
      span: where its text stands in the page, in characters; of an indented block too.
    """

    language: str
    text: str
    title: str
    says: dict[str, str]
    span: tuple[int, int]

    @property
    def lines(self) -> list[str]:
        """Its commands; one that goes on with a backslash is one."""
        joined = re.sub(r"\\\n\s*", "", self.text).splitlines()
        return [line for line in joined if line.strip() and not line.lstrip().startswith("#")]


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page in order.

    Raises:
      ValueError: a fence or a comment above it is not one of those that page_commands.py lists; or
        JSON or YAML does not parse.
    """
    found: list[Block] = []
    opened, start, at = None, 0, 0
    for line in text.splitlines(keepends=True):
        is_fence, bare = FENCE.match(line), line.rstrip("\n")
        if is_fence and opened is None:
            if not (opened := OPENING.fullmatch(bare)):
                raise ValueError(f"{bare!r}: expected ```LANGUAGE, of {', '.join(LANGUAGES)}")
            above, start = text[:at], at + len(line)
        elif is_fence and opened is not None:
            if bare != f"{opened['indent']}```":
                raise ValueError(f"{bare!r}: expected the end of {opened[0]!r}")
            found.append(block(opened, text[start:at], comments(above), (start, at)))
            opened = None
        at += len(line)
    if opened is not None:
        raise ValueError(f"{opened[0]!r}: no end")
    return found


def block(opened: re.Match, text: str, says: dict[str, str], span: tuple[int, int]) -> Block:
    """A block, after checks of what it says and holds."""
    language, title = opened["language"], opened["title"] or ""
    for word in says:
        if language not in OF[word]:
            raise ValueError(f"<!-- {word} --> above {language}: expected {', '.join(OF[word])}")
    if "not run" in says and not says["not run"].startswith(REASONS):
        raise ValueError(f"not run: {says['not run']}; reasons are {', '.join(REASONS)}")
    if language == TEXT and not {"output", "not run"} & set(says):
        raise ValueError(f"a text block without <!-- output --> or <!-- not run: ... -->:\n{text}")
    inner = textwrap.dedent(text)
    try:
        if language == JSON:
            json.loads(inner)
        elif language == YAML:
            list(yaml.safe_load_all(inner))
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"a block is not {language}: {error}\n{inner}") from error
    return Block(language, inner, title, says, span)


def comments(above: str) -> dict[str, str]:
    """What the comments say, {word: rest}, that end a text."""
    says: dict[str, str] = {}
    while (above := above.rstrip()).endswith("-->"):
        at = above.rindex("<!--")
        found = COMMENT.fullmatch(above[at:])
        if not found or found["word"] not in OF or found["word"] in says:
            raise ValueError(f"{above[at:]}: expected one <!-- WORD: ... --> of {', '.join(OF)}")
        says[found["word"]] = found["rest"] or ""
        above = above[:at]
    return says
