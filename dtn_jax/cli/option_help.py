"""`--help=SECTION`: the options of a config, from their declarations."""

from __future__ import annotations

import textwrap

from dtn_jax.config import declarations
from dtn_jax.config.sections import SECTIONS, Declared
from dtn_jax.errors import choose

WIDTH = 92
ALL = "all"


def option_help(wanted: str) -> str:
    """The options of a section, such as `model` or `model.dtn`, of `all`, or one by its key.

    Raises:
      UserError: no such section.
    """
    known = declarations().values()
    shown = [d for d in known if wanted in (ALL, d.key)]
    if not shown:
        inner = {place for d in known for place in places(d)} - {*SECTIONS}
        choose("section in --help=", wanted, [*filter(None, SECTIONS), *sorted(inner), ALL])
        shown = [d for d in known if wanted in places(d)]
    return "\n".join(line for d in shown for line in lines_of(d))


def places(option: Declared) -> set[str]:
    """The sections, and the parts of them with options of their own, that show an option."""
    parts = [f"{option.family.section}.{name}" for name in option.members] if option.family else []
    return {*parts, option.key.partition(".")[0] if "." in option.key else ""}


def lines_of(declared: Declared) -> list[str]:
    option = declared.option
    shown = repr(option.default) if option.default == "" else option.default
    runtime = "; may change when a run resumes" if option.runtime else ""
    text = f"{option.help} [{option.expected}{runtime}]"
    return [
        f"--config.{declared.key}={shown}",
        *textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    "),
    ]
