"""The commands of a page, run as its reader would type them.

A page is a story: its shell and Python blocks run in order, in one folder that is empty at first.
A fence is ```bash, python, yaml, json or text; any other is an error (see page_blocks.py), and so
are JSON and YAML that do not parse. HTML comments directly above a block, which no reader sees, say
what differs; any other comment there is an error too:

    <!-- given: logs, runs/adult -->    the folder has these beforehand (given.py makes them)
    <!-- shorter: train --config.seed=1; sweep --trials=2 -->    words added in tests
    <!-- not run: needs a GPU -->       it does not run, for one of the reasons in REASONS
    <!-- output: -9:-7 -3: -->          a text block: these lines of what the commands above
                                        printed, as Python slices (12: the last 12; nothing: all);
                                        see write_outputs.py
    <!-- varies: 2; why -->             so many lines of the text block a shortened run may lack

A text block has `output` or `not run`. A shortened run must print its lines, each by its skeleton:
the words of two letters or more in order, names such as `income@all` whole, numbers masked. A
quarter of a block's lines may be missing, such as verdicts, and of three lines or fewer none;
`varies` says another number.

A block with a title, as in ```python title="my_model.py", is that file, for later commands.
"""

from __future__ import annotations

import pathlib
import re
import shutil

from given import GIVEN
from page_blocks import BASH, PYTHON, TEXT, Block, blocks
from page_shell import PROGRAMS, ROOT, Shell

# A command up to what ends it: a pipe, a comment, the next command.
COMMAND = re.compile(
    r"(?:dtn-jax |python -m experiments\.)(?P<name>\w+)"
    r"""(?:'[^']*'|"[^"]*"|[^'"|&;>#]|(?<=\S)#)*"""
)
NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?:e[-+]?\d+)?")
WORD = re.compile(r"[\w#/@]+(?:[.:=-][\w#/@]+)*")
TRAIN = "--config.train.max_steps=20 --config.train.eval_every=10 --config.train.log_every=10"
SHORTER = {  # in tests
    "train": TRAIN,
    "sweep": f"--trials=2 {TRAIN}",
    "paper_tables": "--quick --trials=1 --seeds=2 --entries=dtn,mmoe",
    "feature_importance": "--rows=500 --repeats=2",
    "launch": TRAIN,
}


def shorter(line: str, more: str) -> str:
    """The line with the words of SHORTER and of a comment `shorter` behind its commands."""
    own = dict(part.strip().split(" ", 1) for part in more.split(";") if part.strip())

    def longer(command: re.Match) -> str:
        usual = SHORTER.get(command["name"], "")
        usual = TRAIN if "--grid" in command[0] else usual  # all points of a grid are tried
        words = [usual, own.get(command["name"], "")]
        end = len(command[0].rstrip())
        return " ".join([command[0][:end], *filter(None, words)]) + command[0][end:]

    return re.sub("^make demo", f"make demo OPTIONS='{TRAIN}'", COMMAND.sub(longer, line))


def run(
    page: str,
    folder: pathlib.Path,
    short: bool,
    programs: pathlib.Path = PROGRAMS,
    kept: pathlib.Path | None = None,
) -> list[tuple[Block, str]]:
    """Runs a page; returns its output blocks, each with all that its commands printed.

    Args:
      page: its path in the repository.
      folder: an empty one.
      short: shorten the commands, as tests do.
      programs: where its `python` and `dtn-jax` are.
      kept: a folder in which what pages are given stays for others.

    Raises:
      AssertionError: a command fails; with what it printed.
    """
    outputs, printed = [], ""
    with Shell(folder, programs) as shell:
        for block in blocks((ROOT / page).read_text()):
            for name in filter(None, re.split(r"[,\s]+", block.says.get("given", ""))):
                give(name, shell, kept)
            if "not run" in block.says:
                continue
            if block.title:
                shell.write(block.title, block.text)
            elif block.language == BASH:
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


def give(name: str, shell: Shell, kept: pathlib.Path | None) -> None:
    """Makes what a page has beforehand, or copies it from where it was made for another."""
    if kept is None or name == "clone":
        return GIVEN[name](shell)
    made = kept / name.replace("/", "-")
    if not made.exists():
        begun = made.with_name(f"{made.name}.part")
        shutil.rmtree(begun, ignore_errors=True)  # of one that failed
        begun.mkdir()
        GIVEN[name](Shell(begun, shell.programs))
        begun.rename(made)
    shutil.copytree(made, shell.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".venv"))


def missing(block: Block, printed: str) -> list[str]:
    """The skeletons of an output block's lines that were not printed, if they are too many."""
    shown = list(filter(None, map(skeleton, block.text.splitlines())))
    found = set(map(skeleton, printed.splitlines()))
    lacking = [words for words in shown if words not in found]
    few = len(shown) // 4 if len(shown) > 3 else 0
    allowed = int(block.says["varies"].partition(";")[0]) if "varies" in block.says else few
    return lacking if len(lacking) > allowed else []


def skeleton(line: str) -> str:
    """The words of a line that have two letters or more, with numbers masked."""
    words = WORD.findall(NUMBER.sub("#", line))
    return " ".join(word for word in words if len(re.findall(r"[^\W\d_]", word)) > 1)


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
    return any(b.language in (BASH, PYTHON) and "not run" not in b.says for b in found)
