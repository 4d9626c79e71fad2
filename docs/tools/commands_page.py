"""The page of commands: what each prints for --help."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from unittest import mock

from dtn_jax.cli import described

LEAD = """\
# Commands

`dtn-jax COMMAND` runs each from any folder; in a clone, `python -m experiments.COMMAND` does too.
Below is what `dtn-jax COMMAND --help` prints. Options of a config, `--config.KEY`, have
[a page of their own](options.md).
"""
WIDTH = "80"  # columns


def page() -> str:
    """Markdown."""
    parts = [LEAD]
    for name, does in described().items():
        parts.append(f"## `{name}` {{ #{name} }}\n\n{does}\n\n```text\n{help_of(name)}\n```\n")
    return "\n".join(parts)


def help_of(name: str) -> str:
    """What `dtn-jax NAME --help` prints."""
    module = importlib.import_module(f"dtn_jax.cli.{name}")
    printed = io.StringIO()
    with (
        mock.patch.dict(os.environ, {"COLUMNS": WIDTH}),
        mock.patch.object(sys, "argv", [f"dtn-jax {name}", "--help"]),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        module.main(["--help"])
    return printed.getvalue().strip()
