"""The commands, a file each: `dtn-jax COMMAND ...`, from any folder.

What takes time to import is imported late: Ctrl-C is answered before.
"""

from __future__ import annotations

import importlib
import pathlib
import re
import sys

from dtn_jax import __version__
from dtn_jax.parallel import interrupts

GROUPS = {
    "data": ("prepare",),
    "training": ("train", "sweep", "launch", "plan"),
    "comparing and explaining": ("compare", "paper_tables", "feature_importance", "replay"),
    "using a model": ("rank", "export", "score", "serve"),
}
COMMANDS = tuple(name for names in GROUPS.values() for name in names)
HELP = """\
usage: dtn-jax COMMAND [options]
       dtn-jax COMMAND --help    says what it does, and its options
       dtn-jax --version
"""
EXAMPLE = """
to begin, train DTN on a small data set that is included, in half a minute:
  dtn-jax train --config=configs/adult.py:dtn"""


def described() -> dict[str, str]:
    """{command: what it does, in a line}"""
    import ast

    folder = pathlib.Path(__file__).parent
    texts = ((name, (folder / f"{name}.py").read_text()) for name in COMMANDS)
    return {name: ast.get_docstring(ast.parse(text)).split("\n")[0] for name, text in texts}


def main(name: str = "") -> None:
    """Runs a command with the arguments of the process; '': the first one names it."""
    interrupts.at_once()
    from dtn_jax.errors import choose, leave_unless_installed

    leave_unless_installed()
    if not name:
        name, *rest = sys.argv[1:] or ["--help"]
        sys.argv = ["", *rest]
    sys.argv[0] = f"dtn-jax {name}"  # what a run keeps as the command that resumes it
    from dtn_jax.cli import command

    if name in ("-h", "--help"):
        print(overview())
    elif name == "--version":
        print(f"dtn-jax {__version__}")
    elif name not in COMMANDS:
        command.run(lambda _: choose("command", name, COMMANDS))
    else:
        module = importlib.import_module(f"dtn_jax.cli.{name}")
        command.run(module.main)


def overview() -> str:
    """The list of commands."""
    does, lines = described(), [HELP]
    for group, names in GROUPS.items():
        short = {name: re.split("[:;]|\\.$", does[name])[0] for name in names}
        lines += [f"{group}:", *(f"  {name:20}{text}" for name, text in short.items())]
    return "\n".join([*lines, EXAMPLE])
