"""The commands of a page, run as its reader would type them.

A page is a story: its shell and Python blocks run in order, in one folder that is empty at first.
HTML comments directly above a block, which no reader sees, say what differs:

    <!-- given: logs, runs/adult -->    the folder has these beforehand (given.py makes them)
    <!-- shorter: train --config.seed=1; sweep --trials=2 -->    words added in tests
    <!-- not run: needs a GPU -->       it does not run, for one of the reasons in REASONS
    <!-- output: -9:-7 -3: -->          a text block: these lines of what the commands above
                                        printed, as Python slices (12: the last 12; nothing: all);
                                        see write_outputs.py

A block with a title, as in ```python title="my_model.py", is that file, for later commands.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import textwrap

from given import GIVEN
from page_shell import ROOT, Shell

BLOCK = re.compile(
    r"(?P<comments>(?:^[ ]*<!--[^>]*-->\n+)*)"
    r"^(?P<indent>[ ]*)```(?P<language>\w+)(?P<words>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.M | re.S,
)
COMMENT = re.compile(r"<!-- ([\w ]+?)(?:: (.*?))? -->", re.S)
# A command up to what ends it: a pipe, a comment, the next command.
COMMAND = re.compile(
    r"(?:dtn-jax |python -m experiments\.)(?P<name>\w+)"
    r"""(?:'[^']*'|"[^"]*"|[^'"|&;>#]|(?<=\S)#)*"""
)
SHELL, PYTHON, TEXT = "bash", "python", "text"
SAYS = dict.fromkeys(("given", "shorter", "not run", "output"))
REASONS = (
    "needs a GPU",
    "needs a TPU",
    "needs a cluster",
    "needs data",
    "needs an account",
    "takes hours",
    "shows form",
)
TRAIN = "--config.train.max_steps=20 --config.train.eval_every=10 --config.train.log_every=10"
SHORTER = {  # in tests
    "train": TRAIN,
    "sweep": f"--trials=2 {TRAIN}",
    "paper_tables": "--quick --trials=1 --seeds=2 --entries=dtn,mmoe --set=train.max_steps=10",
    "feature_importance": "--rows=500 --repeats=2",
    "launch": TRAIN,
}


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
      ValueError: a comment is not one of those above, or gives no known reason.
    """
    found = []
    for match in BLOCK.finditer(text):
        says = dict(COMMENT.findall(match["comments"]))
        if wrong := set(says) - set(SAYS):
            raise ValueError(f"<!-- {wrong.pop()} -->: expected one of {', '.join(SAYS)}")
        if "not run" in says and not says["not run"].startswith(REASONS):
            raise ValueError(f"not run: {says['not run']}; reasons are {', '.join(REASONS)}")
        inner = textwrap.dedent(match["text"])
        title = re.search(r'title="(.+?)"', match["words"])
        name = title[1] if title else ""
        found.append(Block(match["language"], inner, name, says, match.span("text")))
    return found


def shorter(line: str, more: str) -> str:
    """The line with the words of SHORTER and of a comment `shorter` behind its commands."""
    own = dict(part.strip().split(" ", 1) for part in more.split(";") if part.strip())

    def longer(command: re.Match) -> str:
        words = [SHORTER.get(command["name"], ""), own.get(command["name"], "")]
        end = len(command[0].rstrip())
        return " ".join([command[0][:end], *filter(None, words)]) + command[0][end:]

    return COMMAND.sub(longer, line)


def run(page: str, folder: pathlib.Path, short: bool) -> list[tuple[Block, str]]:
    """Runs a page; returns its output blocks, each with all that its commands printed.

    Args:
      page: its path in the repository.
      folder: an empty one.
      short: shorten the commands, as tests do.

    Raises:
      AssertionError: a command fails; with what it printed.
    """
    outputs, printed = [], ""
    with Shell(folder) as shell:
        for block in blocks((ROOT / page).read_text()):
            for name in filter(None, re.split(r"[,\s]+", block.says.get("given", ""))):
                GIVEN[name](shell)
            if "not run" in block.says:
                continue
            if block.title:
                shell.write(block.title, block.text)
            elif block.language == SHELL:
                more = block.says.get("shorter", "")
                lines = [shorter(line, more) if short else line for line in block.lines]
                printed = "".join(shell.run(line) for line in lines)
            elif block.language == PYTHON:
                printed = shell.python(block.text)
            elif block.language == TEXT and "output" in block.says:
                outputs.append((block, printed))
        codes = shell.stop()
        assert not any(codes), f"a server ended with {codes}: {shell.log.read_text()}"
    return outputs


def cut(printed: str, slices: str) -> str:
    """The lines of a comment `output`."""
    found = printed.strip("\n").splitlines()
    kept = []
    for part in slices.split() or [":"]:
        start, _, end = part.partition(":") if ":" in part else (f"-{part}", "", "")
        kept += found[int(start) if start else None : int(end) if end else None]
    return "".join(f"{line.rstrip()}\n" for line in kept)


def python(page: str) -> list[str]:
    """The Python blocks of a page."""
    return [b.text for b in blocks((ROOT / page).read_text()) if b.language == PYTHON]


def pages() -> list[str]:
    """All pages with commands."""
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
    named = [path.relative_to(ROOT).as_posix() for path in files if path.exists()]
    return [name for name in named if any_command((ROOT / name).read_text())]


def any_command(text: str) -> bool:
    found = blocks(text)
    return any(b.language in (SHELL, PYTHON) and "not run" not in b.says for b in found)
