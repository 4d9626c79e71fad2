"""The command below a table, which makes it again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence


def remade(arguments: Sequence[str]) -> str:
    """The command that makes the whole table, without the folders."""
    places = ("--workdir", "--runs", "--data_dir", "--manual_dir", "--cache_dir", "--entries")
    left, given = [], iter(arguments)
    for argument in given:
        name, equals, _ = argument.partition("=")
        if name not in places:
            left.append(argument)
        elif not equals:
            next(given)  # its value
    return shlex.join(["dtn-jax", "paper_tables", *left])
