"""The page of options, from their declarations: a heading an option, so that search finds each."""

from __future__ import annotations

import html
import re

from dtn_jax.config import declarations
from dtn_jax.config.sections import SECTIONS, Declared

LEAD = """\
---
search:
  boost: 2
---

# Options

Every option of a config, as its owner declares it. Give one on the command line as
`--config.KEY=VALUE`, or set it in a config file. `dtn-jax train --help=SECTION` prints the same,
with the options of your own plug-ins.

An option that may change when a run resumes says where and how a run happens, not what it computes.
"""
WORDS = {
    "": ("At the top", "Top-level options."),
    "data": ("`data`", "Which rows, and how they are read."),
    "model": ("`model`", "The architecture, its experts, and what they read."),
    "loss": ("`loss`", "What a task's rows cost, and how tasks are weighed."),
    "optim": ("`optim`", "How parameters are stepped."),
    "train": ("`train`", "How long, how often, and from where."),
    "evaluate": ("`evaluate`", "How metrics are computed."),
    "analysis": ("`analysis`", "What is looked at while a run trains."),
    "parallel": ("`parallel`", "Devices, processes, memory."),
    "debug": ("`debug`", "Checks that cost time."),
}
SPECIAL = re.compile(r"([\\`*_{}\[\]$#|])")
QUOTED = re.compile(r"(?<!\w)'([^']*)'(?!\w)")


def page() -> str:
    """Markdown."""
    parts = [LEAD]
    known = declarations().values()
    for section in SECTIONS:
        title, words = WORDS[section]
        anchor = section or "top"
        parts.append(f"## {title} {{ #{anchor} }}\n\n{words}\n")
        in_section = [d for d in known if section_of(d) == section]
        parts += [entry(d) for d in in_section if d.family is None]
        for member in dict.fromkeys(d.members[0] for d in in_section if d.family):
            own = [d for d in in_section if d.members[:1] == (member,)]
            names = ", ".join(f"`{name}`" for name in own[0].members)
            parts.append(f"## Options of {names} {{ #{section}.{member} }}\n")
            parts += [entry(d) for d in own]
    return "\n".join(parts)


def section_of(found: Declared) -> str:
    return found.family.section if found.family else "".join(found.key.rpartition(".")[:1])


def entry(found: Declared) -> str:
    """An option: its heading, what it may be, what it means."""
    option = found.option
    default = repr(option.default) if option.default == "" else str(option.default)
    runtime = "; may change when a run resumes" if option.runtime else ""
    facts = f"Default `{default}`; {prose(option.expected)}{runtime}"
    meaning = prose(sentence(option.help))
    return f"### `{found.key}` {{ #{found.key} }}\n\n{facts}.\n{{ .option }}\n\n{meaning}.\n"


def sentence(text: str) -> str:
    """A help that begins with a capital; a symbol, such as σ, stays as it is."""
    return text[:1].upper() + text[1:] if text[:1].isascii() else text


def prose(text: str) -> str:
    """Plain text as Markdown that shows it; what stands in quotes is code."""
    parts = QUOTED.split(text)
    parts[::2] = [SPECIAL.sub(r"\\\1", html.escape(part, quote=False)) for part in parts[::2]]
    parts[1::2] = [f"`{part}`" if part else "`''`" for part in parts[1::2]]
    return "".join(parts)
