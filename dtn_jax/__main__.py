"""`dtn-jax COMMAND ...`: the commands of experiments/, from any folder.

What takes time to import is imported late: Ctrl-C is answered before.
"""

from __future__ import annotations

import difflib
import os
import sys

from dtn_jax.parallel import interrupts


def commands() -> dict[str, str]:
    """{name: what it does, in a line}, of each command of experiments/."""
    import ast

    from dtn_jax import shipped

    found = {}
    for path in sorted(shipped.folder("experiments").glob("*.py")):
        tree = ast.parse(path.read_text())
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        if "main" in names:
            found[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def main() -> None:
    interrupts.at_once()
    from dtn_jax import shipped
    from dtn_jax.errors import leave_unless_installed

    if sys.argv[1:2] != ["benchmark"]:  # one of its suites needs less
        leave_unless_installed()
    name, *rest = sys.argv[1:] or ["--help"]
    known = commands()
    if name not in known:
        wrong = name not in ("-h", "--help")
        near = difflib.get_close_matches(name, known, 1)
        hint = f". Did you mean {near[0]}?" if near else ""
        lines = [f"error: unknown command {name!r}{hint}"] if wrong else []
        lines += ["usage: dtn-jax COMMAND [options]; dtn-jax COMMAND --help says more", ""]
        lines += [f"  {command:20} {does}" for command, does in known.items()]
        try:
            print("\n".join(lines), file=sys.stderr if wrong else sys.stdout, flush=True)
        except BrokenPipeError:  # who read the output, such as `head`, has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2 if wrong else 0)
    sys.argv = [f"dtn-jax {name}", *rest]
    module = shipped.module("experiments", name)
    shipped.module("experiments", "command").run(module.main, getattr(module, "RESUMES", False))


if __name__ == "__main__":
    main()
