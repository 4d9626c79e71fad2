"""What a run computes, as told by its config: the options that make it this run and no other.

Runtime options, and options of architectures, experts, weights and other things that the run does
not have, are no part of it. A plug-in counts by its name and content, a schema file by what it
means, and neither by where it lies.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import no_type_check

from ml_collections import ConfigDict

from dtn_jax.config.sections import OF_EXPERTS, declarations, flatten, takes_experts
from dtn_jax.data.schemas.named_schema import without_place
from dtn_jax.data.sets.catalog import DATASETS
from dtn_jax.errors import UserError
from dtn_jax.losses.sample_weights import SWITCHES

SHOWN = 8  # options that differ, in a message


def identity(config: Mapping | ConfigDict) -> dict[str, object]:
    """The flat options that say what is computed; of stored configs too, whatever their version."""
    flat, known = flatten(config), declarations()
    filled = {key: found.option.default for key, found in known.items()} | flat
    used: dict[int, set[str] | None] = {}

    @no_type_check  # called for every option
    def counts(key: str) -> bool:
        found = known.get(key)
        if found is None:  # of another version, or of a plug-in that is not loaded
            return True
        if found.option.runtime or (key in SWITCHES and weightless(filled)):
            return False
        if key in OF_EXPERTS:
            return takes_experts(filled)
        if found.family is None:
            return True
        at = id(found.family)
        if at not in used:
            try:
                used[at] = found.family.used(filled)
            except UserError:  # names what is not known: then every option may count
                used[at] = None
        return used[at] is None or bool(found.members & used[at])

    kept = {key: value for key, value in flat.items() if counts(key)}
    if kept.get("plugins"):
        kept["plugins"] = by_content(str(kept["plugins"]))
    else:
        kept.pop("plugins", None)
    if "data.options" in kept:
        kept["data.options"] = without_place(str(kept["data.options"]))
    return kept


def weightless(flat: Mapping[str, object]) -> bool:
    """Whether the data set of a flat config is one whose rows never have weights."""
    return getattr(DATASETS.get(str(flat["data.dataset"])), "weight", None) == ""


def by_content(plugins: str) -> str:
    """'/home/me/heads.py#0123' as 'heads.py#0123'; several in the order of their names."""
    return ",".join(sorted(pathlib.PurePath(part.strip()).name for part in plugins.split(",")))


def differing(there: Mapping[str, object], here: Mapping[str, object]) -> list[str]:
    """The keys in which two identities differ; an option that one lacks has its default there.

    Values are compared as text: some are stored so.
    """
    known = declarations()

    @no_type_check  # called for every option
    def of(found: Mapping[str, object], key: str) -> str | None:
        if key in found:
            return str(found[key])
        return str(known[key].option.default) if key in known else None

    return [key for key in {**there, **here} if of(there, key) != of(here, key)]


def shown(keys: Sequence[str], there: Mapping[str, object], here: Mapping[str, object]) -> str:
    """The lines of a message that tell options which differ: the first SHOWN of `keys`."""
    lines = [
        "  {}: {} there, {} now".format(
            key, *(repr(found[key]) if key in found else "the default" for found in (there, here))
        )
        for key in keys[:SHOWN]
    ]
    if len(keys) > SHOWN:
        lines.append(f"  and {len(keys) - SHOWN} more")
    return "\n".join(lines)
