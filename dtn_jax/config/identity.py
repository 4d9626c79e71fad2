"""What a run computes, as told by its config: the options that make it this run and no other.

Runtime options, and options of architectures, experts, weights and other things that the run does
not have, are no part of it. A plug-in counts by its name and content, a schema file by what it
means, and neither by where it lies.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import no_type_check

from ml_collections import ConfigDict

from dtn_jax.config.sections import (
    FAMILIES,
    OF_EXPERTS,
    Family,
    declarations,
    defaults,
    flatten,
    takes_experts,
)
from dtn_jax.data.schemas.named_schema import without_place
from dtn_jax.data.sets.catalog import DATASETS
from dtn_jax.errors import UserError
from dtn_jax.losses.sample_weights import SWITCHES

SHOWN = 8  # options that differ, in a message


def identity(config: Mapping | ConfigDict) -> dict[str, object]:
    """The flat options that say what is computed; of stored configs too, whatever their version."""
    flat, known = flatten(config), declarations()
    filled = defaults() | flat
    used = {id(family): _used(family, filled) for family in FAMILIES.values()}
    without = {*(OF_EXPERTS if not takes_experts(filled) else ())}
    data_set = DATASETS.get(str(filled["data.dataset"]))
    without |= {*(SWITCHES if getattr(data_set, "weight", None) == "" else ())}  # rows have none

    @no_type_check  # called for every option
    def counts(key: str) -> bool:
        declared = known.get(key)
        if declared is None or declared.option.runtime or key in without:
            return declared is None  # of another version, or of a plug-in that is not loaded
        return declared.family is None or bool({*declared.members} & used[id(declared.family)])

    kept = {key: value for key, value in flat.items() if counts(key)}
    kept["plugins"] = by_content(str(kept.get("plugins", "")))
    kept["data.options"] = without_place(str(kept.get("data.options", "")))
    return kept


def _used(family: Family, flat: Mapping[str, object]) -> set[str]:
    """The members that a flat config has; all where it names what is not known."""
    try:
        return family.used(flat)
    except UserError:
        return {*family.members}


def unused(config: Mapping | ConfigDict, keys: Iterable[str]) -> list[str]:
    """A line for each of `keys` that is no part of what the config computes."""
    known, kept = declarations(), identity(config)
    lines = []
    for key in dict.fromkeys(keys):
        if key in known and key not in kept and not known[key].option.runtime:
            lacks = " and no ".join(sorted(known[key].members)) or "use for it"
            lines.append(f"{key} changes nothing: the run has no {lacks}")
    return lines


def by_content(plugins: str) -> str:
    """'/home/me/heads.py#0123' as 'heads.py#0123'; several in the order of their names."""
    return ",".join(sorted(pathlib.PurePath(part.strip()).name for part in plugins.split(",")))


def differing(there: Mapping[str, object], here: Mapping[str, object]) -> list[str]:
    """The keys in which two identities differ; an option that one lacks has its default there.

    Values are compared as text: some are stored so.
    """
    known = declarations()

    @no_type_check  # called for every option
    def of(options: Mapping[str, object], key: str) -> str | None:
        if key in options:
            return str(options[key])
        return str(known[key].option.default) if key in known else None

    return [key for key in {**there, **here} if of(there, key) != of(here, key)]


def shown(keys: Sequence[str], there: Mapping[str, object], here: Mapping[str, object]) -> str:
    """The lines of a message that tell options which differ: the first SHOWN of `keys`."""

    def text(options: Mapping[str, object], key: str) -> str:
        return repr(options[key]) if key in options else "the default"

    lines = [f"  {key}: {text(there, key)} there, {text(here, key)} now" for key in keys[:SHOWN]]
    more = [f"  and {len(keys) - SHOWN} more"] * (len(keys) > SHOWN)
    return "\n".join(lines + more)
