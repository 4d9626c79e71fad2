"""Options that were given and say nothing, because the run does not have what they are of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ml_collections import ConfigDict, FrozenConfigDict

from dtn_jax.config.identity import weightless
from dtn_jax.config.sections import OF_EXPERTS, declarations, flatten, takes_experts, used_experts
from dtn_jax.errors import UserError
from dtn_jax.losses.sample_weights import SWITCHES
from dtn_jax.models.experts import EXPERTS, takes

Flat = Mapping[str, object]


def without_codebooks(flat: Flat) -> str:
    taking = [name for name, expert in EXPERTS.items() if takes(expert, "codebook")]
    return "" if used_experts(flat) & set(taking) else f"no expert is {' or '.join(taking)}"


def without_experts(flat: Flat) -> str:
    return "" if takes_experts(flat) else f"{flat['model.architecture']} has no experts"


def placed(flat: Flat) -> str:
    place = flat["data.placement"]
    return "" if place == "auto" else f"data.placement={place} decides"


def copied(flat: Flat) -> str:
    own = flat["parallel.strategy"]
    return "with parallel.strategy=pmap tables are on every device" if own == "pmap" else ""


def anew(flat: Flat) -> str:
    return "" if flat["train.start_from"] else "train.start_from names no run"


def patient(flat: Flat) -> str:
    return "" if flat["train.patience"] else "without train.patience a run trains its epochs"


def unweighted(flat: Flat) -> str:
    return f"data set {flat['data.dataset']!r} has no weights" if weightless(flat) else ""


# Of a flat config, why an option of a section says nothing; '' where it does. Options of single
# architectures, experts, losses and balancers are known by their declarations.
REASONS: dict[str, Callable[[Flat], str]] = {
    "optim.codebook_init": without_codebooks,
    "train.start_from_optimizer": anew,
    "train.max_examples": patient,
    "data.device_bytes": placed,
    "parallel.table_devices": copied,
    "parallel.message_rows": copied,
    **dict.fromkeys(OF_EXPERTS, without_experts),
    **dict.fromkeys(SWITCHES, unweighted),
}


def unused(configs: Sequence[ConfigDict | FrozenConfigDict], keys: Iterable[str]) -> list[str]:
    """A line for each of `keys` that says nothing in any of the configs."""
    flats, lines = [flatten(config) for config in configs], []
    for key in dict.fromkeys(keys):
        reasons = [reason(flat, key) for flat in flats]
        if reasons and all(reasons):
            lines.append(f"{key} changes nothing: {reasons[0]}")
    return lines


def reason(flat: Flat, key: str) -> str:
    """Why an option says nothing in a flat config; '' where it does, or is not known."""
    found = declarations().get(key)
    if found is None:
        return ""
    if key in REASONS:
        return REASONS[key](flat)
    if found.family is None:
        return ""
    try:
        used = found.family.used(flat)
    except UserError:  # it names what is not known, which is told elsewhere
        return ""
    if used & found.members:
        return ""
    of = " and ".join(sorted(found.members))
    return f"it is an option of {of}, and the run has {', '.join(sorted(used)) or 'none of these'}"
