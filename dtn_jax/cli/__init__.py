"""The commands, a file each: `dtn-jax COMMAND ...`, from any folder.

What takes time to import is imported late: Ctrl-C is answered before.
"""

from __future__ import annotations

import difflib
import importlib
import pathlib
import re
import sys

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
    trees = {name: ast.parse((folder / f"{name}.py").read_text()) for name in COMMANDS}
    return {name: ast.get_docstring(tree).partition("\n")[0] for name, tree in trees.items()}


def main(name: str = "") -> None:
    """Runs a command with the arguments of the process; '': the first one names it."""
    interrupts.at_once()
    from dtn_jax.errors import leave_unless_installed

    leave_unless_installed()
    if not name:
        name, *rest = sys.argv[1:] or ["--help"]
        if name not in COMMANDS:
            overview(name)
        sys.argv = [f"dtn-jax {name}", *rest]
    from dtn_jax.cli import command

    module = importlib.import_module(f"dtn_jax.cli.{name}")
    command.run(module.main, getattr(module, "RESUMES", False))


def overview(name: str) -> None:
    """Lists the commands, or says the version, and ends; `name` is no command."""
    wrong = name not in ("-h", "--help", "--version")
    near = difflib.get_close_matches(name, COMMANDS, 1)
    hint = f". Did you mean {near[0]}?" if near else ""
    lines = [f"error: unknown command {name!r}{hint}", ""] if wrong else []
    if name == "--version":
        from dtn_jax import __version__

        lines.append(f"dtn-jax {__version__}")
    else:
        does = described()
        lines.append(HELP)
        for group, names in GROUPS.items():
            short = {name: re.split("[:;]|\\.$", does[name])[0] for name in names}
            lines += [f"{group}:", *(f"  {name:20}{text}" for name, text in short.items())]
        lines.append(EXAMPLE)
    print("\n".join(lines), file=sys.stderr if wrong else sys.stdout)
    sys.exit(2 if wrong else 0)
