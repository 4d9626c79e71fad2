"""`--help=SECTION`: the options of a config, from their declarations."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from dtn_jax.config import declarations
from dtn_jax.config.sections import SECTIONS, Declared
from dtn_jax.errors import choose

WIDTH = 92
ALL = "all"


def sections() -> list[str]:
    """What --help=... may name: sections, and the parts of them that have their own options."""
    known = declarations().values()
    inner = {f"{d.family.section}.{name}" for d in known if d.family for name in d.members}
    return [*filter(None, SECTIONS), *sorted(inner)]


def option_help(wanted: str) -> str:
    """The options of a section, such as `model` or `model.dtn`, of `all`, or one by its key.

    Raises:
      UserError: no such section.
    """
    known = declarations().values()
    if wanted == ALL:
        return listed(known)
    if exact := [d for d in known if d.key == wanted]:
        return listed(exact)
    choose("section in --help=", wanted, [*sections(), ALL])
    return listed(d for d in known if wanted in places(d))


def places(found: Declared) -> set[str]:
    """The sections under which an option is shown."""
    own = [f"{found.family.section}.{name}" for name in found.members] if found.family else []
    return {*own, found.key.partition(".")[0] if "." in found.key else ""}


def listed(found: Iterable[Declared]) -> str:
    lines = []
    for declared in found:
        option = declared.option
        default = option.default
        shown = repr(default) if default == "" else str(default)
        runtime = "; may change when a run resumes" if option.runtime else ""
        lines.append(f"--config.{declared.key}={shown}")
        text = f"{option.help} [{option.expected}{runtime}]"
        lines += textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)
