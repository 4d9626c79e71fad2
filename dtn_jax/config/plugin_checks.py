"""What a plug-in may define, and what one of its definitions lacks."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable

from flax import linen as nn

from dtn_jax.balancing import BALANCERS, NONE
from dtn_jax.balancing.balancer import Balancer
from dtn_jax.config.sections import declarations
from dtn_jax.data.sets.catalog import DATASETS
from dtn_jax.data.sets.data_set import DataSet
from dtn_jax.errors import UserError
from dtn_jax.losses import LOSSES
from dtn_jax.metrics import METRICS
from dtn_jax.metrics.metric import Metric
from dtn_jax.models.architectures import ARCHITECTURES, Architecture
from dtn_jax.models.experts import EXPERTS, takes
from dtn_jax.options import declared
from dtn_jax.schema import TASK_KINDS

GIVEN = ("width", "dtype", "dropout", "codebook")  # the attributes that an expert is given


def wrong_architecture(name: str, found: object) -> str:
    """What an architecture lacks, or ''."""
    if not (inspect.isclass(found) and issubclass(found, Architecture)):
        return "expected a subclass of dtn_jax.models.architectures.Architecture"
    if not inspect.ismethod(found.layout):
        return "expected layout(cls, schema, own) to be a class method"
    if found.layout.__func__ is Architecture.layout.__func__:
        return (
            "it does not say which groups of experts it has: define the class method "
            "layout(cls, schema, own), such as: return (('shared',),)"
        )
    if not defines(found, "__call__", Architecture):
        return "expected a method __call__(inputs, train)"
    given = (*(f.name for f in dataclasses.fields(Architecture)), "inflation")
    return wrong_fields(found, given)


def wrong_expert(name: str, found: object) -> str:
    """What an expert lacks, or ''."""
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        return "expected a subclass of flax.linen.Module"
    for attribute in ("width", "dtype"):
        if not takes(found, attribute):
            return f"expected an attribute {attribute!r}"
    if not defines(found, "__call__", nn.Module):
        return "expected a method __call__(fields, codewords, train)"
    return wrong_fields(found, GIVEN)


def wrong_dataset(name: str, found: object) -> str:
    """What a data set lacks, or ''."""
    if not (inspect.isclass(found) and issubclass(found, DataSet)):
        return "expected a subclass of dtn_jax.data.sets.data_set.DataSet"
    own = getattr(found, "name", "")
    if own != name:
        return f"its attribute name is {own!r}, expected {name!r}"
    if not found.schema and found.schema_text is DataSet.schema_text:
        return "expected an attribute schema, the text of a schema file"
    try:
        found(data_dir="").recipe()  # which its schema file is read for
    except UserError as error:
        return str(error)
    return ""


def wrong_metric(name: str, found: object) -> str:
    """What a metric lacks, or ''."""
    if not isinstance(found, Metric):
        return "expected a dtn_jax.metrics.metric.Metric"
    if found.name != name:
        return f"it stands under another name than its own, {found.name!r}"
    try:
        found.text(1)  # of whole numbers too
    except ValueError as error:
        return f"its format {found.format!r} is none: {error}"
    return ""


def wrong_loss(name: str, found: object) -> str:
    """What a loss lacks, or ''."""
    if not (inspect.isclass(found) and dataclasses.is_dataclass(found)):
        return "expected a dataclass, its options the fields"
    if getattr(found, "kind", None) not in TASK_KINDS:
        return f"expected a class attribute `kind`, one of {', '.join(TASK_KINDS)}"
    if not defines(found, "__call__", object):
        return "expected a method __call__(z, y, w)"
    if hasattr(found, "reads") and found.reads not in declared(found):
        return f"its attribute `reads` is {found.reads!r}; expected the name of an option"
    return wrong_fields(found, ("points",) if hasattr(found, "reads") else ())


def wrong_balancer(name: str, found: object) -> str:
    """What a balancer lacks, or ''."""
    if not (inspect.isclass(found) and issubclass(found, Balancer)):
        return "expected a subclass of dtn_jax.balancing.balancer.Balancer"
    if not dataclasses.is_dataclass(found):
        return "expected a dataclass"
    return wrong_fields(found, ())


def defines(found: type, method: str, base: type) -> bool:
    """Whether a class, or one between it and `base`, defines a method."""
    return any(method in vars(cls) for cls in found.__mro__ if not issubclass(base, cls))


def wrong_fields(found: type, given: Iterable[str]) -> str:
    """What is wrong with a dataclass's fields and options, or ''.

    Args:
      found: the dataclass.
      given: the fields that are set when it is made.
    """
    for field in dataclasses.fields(found):
        default = (field.default, field.default_factory) != (dataclasses.MISSING,) * 2
        if field.init and not default and field.name not in given:
            return (
                f"nothing sets its field {field.name!r}: make it an option, "
                f"{field.name}: TYPE = option(DEFAULT, HELP)"
            )
    for name, option in declared(found).items():
        if not isinstance(option.default, bool | int | float | str | tuple):
            return (
                f"option {name!r} has the default {option.default!r}, expected true or false, a "
                "number, text or a tuple"
            )
        try:
            option.check(name, option.default)
        except UserError as error:
            return f"the default of option {name!r} is not allowed: {error}"
    return ""


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a dict of a plug-in adds to.

    Attributes:
      known: the package's dict of such things, by name.
      wrong: (name, thing) -> what it lacks.
      section: of a config, in which their options stand.
      words: names that mean something else.
    """

    known: dict
    wrong: Callable[[str, object], str]
    section: str = ""
    words: tuple[str, ...] = ()


KINDS = {
    "ARCHITECTURES": Kind(ARCHITECTURES, wrong_architecture, "model"),
    "EXPERTS": Kind(EXPERTS, wrong_expert, "model"),
    "DATASETS": Kind(DATASETS, wrong_dataset),
    "METRICS": Kind(METRICS, wrong_metric),
    "LOSSES": Kind(LOSSES, wrong_loss, "loss"),
    "BALANCERS": Kind(BALANCERS, wrong_balancer, "loss", (NONE,)),
}


def sharing(kind: str) -> list[str]:
    """The kinds with which one shares its names: those whose options stand in the same section."""
    section = KINDS[kind].section
    return [other for other in KINDS if other == kind or KINDS[other].section == section != ""]


def taken_option(kind: str, name: str, member: object) -> str:
    """The key of an option, of something else, in whose place one of this member's would stand."""
    section = KINDS[kind].section
    if not section:
        return ""
    known = declarations()
    if f"{section}.{name}" in known:
        return f"{section}.{name}"
    keyed = [option for option in declared(member).values() if option.key]
    others = [o.key for o in keyed if o.key in known and known[o.key].option != o]
    return others[0] if others else ""
