"""Plug-ins: a file of one's own, outside the package, adds to what the package has.

A plug-in is a Python file with one or more of these dicts, {name: what it is}, at its top level:

    ARCHITECTURES   routings: subclasses of dtn_jax.models.architectures.Architecture
    EXPERTS         feature interactions: linen modules, see dtn_jax/models/experts/__init__.py
    DATASETS        subclasses of dtn_jax.datasets.preparation.builder.BlockBuilder
    METRICS         records, dtn_jax.metrics.metric.Metric
    LOSSES          dataclasses, see dtn_jax/losses/__init__.py
    BALANCERS       dataclasses on dtn_jax.balancing.balancer.Balancer

Their options are fields declared by `dtn_jax.options.option`. `--config.plugins=FILE,FILE` loads
them, and so does a config with the option set (`use`). The option keeps each file's absolute path
and SHA-256: a run, or a set that was prepared, belongs to that content, and a changed file is told.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import inspect
import pathlib
import re
import sys
import traceback
from collections.abc import Callable
from types import ModuleType

from flax import linen as nn
from ml_collections import ConfigDict

from dtn_jax.balancing import BALANCERS
from dtn_jax.balancing.balancer import Balancer
from dtn_jax.config.sections import base_config
from dtn_jax.datasets.preparation.builder import BlockBuilder
from dtn_jax.datasets.preparation.catalog import DATASETS
from dtn_jax.errors import UserError
from dtn_jax.losses import LOSSES
from dtn_jax.metrics import METRICS
from dtn_jax.metrics.metric import Metric
from dtn_jax.models.architectures import ARCHITECTURES, Architecture
from dtn_jax.models.experts import EXPERTS, takes
from dtn_jax.schema import TASK_KINDS

NAME = re.compile(r"[a-z][a-z0-9_]*")
loaded: dict[pathlib.Path, tuple[str, dict[str, list[str]]]] = {}  # {file: (SHA-256, its names)}


def wrong_architecture(found: object) -> str:
    """What an architecture lacks, or ''."""
    if not (inspect.isclass(found) and issubclass(found, Architecture)):
        return "expected a subclass of dtn_jax.models.architectures.Architecture"
    if "layout" not in vars(found) and found.layout.__func__ is Architecture.layout.__func__:
        return (
            "it does not say which groups of experts it has: define the class method "
            "layout(cls, schema, own), such as: return (('shared',),)"
        )
    return "" if "__call__" in vars(found) else "expected a method __call__(inputs, train)"


def wrong_expert(found: object) -> str:
    """What an expert lacks, or ''."""
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        return "expected a subclass of flax.linen.Module"
    lacking = [name for name in ("width", "dtype") if not takes(found, name)]
    return f"expected an attribute {lacking[0]!r}" if lacking else ""


def wrong_dataset(found: object) -> str:
    """What a data set lacks, or ''."""
    if not (inspect.isclass(found) and issubclass(found, BlockBuilder)):
        return "expected a subclass of dtn_jax.datasets.preparation.builder.BlockBuilder"
    lacking = [
        name
        for name in ("encoders", "tasks", "raw", "layout")
        if getattr(found, name) is getattr(BlockBuilder, name)
    ]
    return f"expected a method {lacking[0]}()" if lacking else ""


def wrong_metric(found: object) -> str:
    """What a metric lacks, or ''."""
    return "" if isinstance(found, Metric) else "expected a dtn_jax.metrics.metric.Metric"


def wrong_loss(found: object) -> str:
    """What a loss lacks, or ''."""
    if not (inspect.isclass(found) and dataclasses.is_dataclass(found)):
        return "expected a dataclass, its options the fields"
    if getattr(found, "kind", None) not in TASK_KINDS:
        return f"expected a class attribute `kind`, one of {', '.join(TASK_KINDS)}"
    return "" if "__call__" in vars(found) else "expected a method __call__(z, y, w)"


def wrong_balancer(found: object) -> str:
    """What a balancer lacks, or ''."""
    if not (inspect.isclass(found) and issubclass(found, Balancer)):
        return "expected a subclass of dtn_jax.balancing.balancer.Balancer"
    return "" if dataclasses.is_dataclass(found) else "expected a dataclass"


# {name of the dict in a plug-in: (the package's dict, what one of its entries lacks)}
KINDS: dict[str, tuple[dict, Callable[[object], str]]] = {
    "ARCHITECTURES": (ARCHITECTURES, wrong_architecture),
    "EXPERTS": (EXPERTS, wrong_expert),
    "DATASETS": (DATASETS, wrong_dataset),
    "METRICS": (METRICS, wrong_metric),
    "LOSSES": (LOSSES, wrong_loss),
    "BALANCERS": (BALANCERS, wrong_balancer),
}
SHARING = (("ARCHITECTURES", "EXPERTS"), ("LOSSES", "BALANCERS"))  # a section, so no name twice


def use(config: ConfigDict, files: str) -> None:
    """Loads plug-ins and gives a config their options, at their defaults; sets its `plugins`."""
    text = load(files)
    with config.unlocked():
        for key, value in base_config().items():
            if isinstance(value, ConfigDict):
                for name, own in value.items():
                    if name not in config[key]:
                        config[key][name] = own
        config.plugins = text


def load(files: str) -> str:
    """Loads files, by comma, each once; returns them as the option keeps them: PATH#SHA256.

    Raises:
      UserError: a file is not there, fails, defines nothing or what lacks something, takes a name
        that is there already, or is not the one that its '#SHA256' says.
    """
    return ",".join(_load(part.strip()) for part in files.split(",") if part.strip())


def _load(part: str) -> str:
    name, _, expected = part.partition("#")
    path = pathlib.Path(name).expanduser().absolute()
    if not path.is_file():
        raise UserError(f"plug-in {name} is not there (looked for {path})")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if expected and found != expected:
        raise UserError(
            f"plug-in {path} is not the file of this run any more: its SHA-256 was "
            f"{expected[:12]}, is {found[:12]}; put the old file back, or begin a new run"
        )
    if path not in loaded or loaded[path][0] != found:
        names = _add(path, import_file(path, "plug-in"), found)
        loaded[path] = (found, names)
    return f"{path}#{found}"


def _add(path: pathlib.Path, module: ModuleType, source: str) -> dict[str, list[str]]:
    """Adds what a module defines to the package's dicts; all of it or nothing."""
    before = loaded.get(path, ("", {}))[1]  # of an earlier version of the same file
    entries = {kind: dict(getattr(module, kind)) for kind in KINDS if hasattr(module, kind)}
    if not any(entries.values()):
        raise UserError(
            f"plug-in {path} defines nothing: expected a dict {{name: ...}} called "
            f"{', '.join(KINDS)}"
        )
    for kind, members in entries.items():
        for name, member in members.items():
            what = f"plug-in {path}: {kind}[{name!r}]"
            if not (isinstance(name, str) and NAME.fullmatch(name)):
                raise UserError(f"{what}: a name is of lower-case letters, digits and '_'")
            others = next((kinds for kinds in SHARING if kind in kinds), (kind,))
            taken = [o for o in others if name in KINDS[o][0] and name not in before.get(o, [])]
            if taken:
                raise UserError(f"{what}: the name is taken, by one of {taken[0]}; choose another")
            wrong = KINDS[kind][1](member)
            if isinstance(member, Metric) and member.name != name:
                wrong = f"it stands under another name than its own, {member.name!r}"
            if wrong:
                raise UserError(f"{what} is {member!r}: {wrong}")
    for kind, names in before.items():
        for name in names:
            del KINDS[kind][0][name]
    for kind, members in entries.items():
        KINDS[kind][0].update(members)
    for builder in entries.get("DATASETS", {}).values():
        builder.SOURCE = source
    return {kind: list(members) for kind, members in entries.items()}


def import_file(path: pathlib.Path, what: str) -> ModuleType:
    """Runs a Python file of the user's; raises UserError that says where it fails."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    shadowed = sys.modules.get(path.stem)
    sys.modules[path.stem] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except UserError:
        raise
    except Exception as error:
        raise failed(path, what, error) from error
    finally:
        if shadowed is not None:
            sys.modules[path.stem] = shadowed
    return module


def failed(path: pathlib.Path, what: str, error: Exception) -> UserError:
    """The message of a user's file that raised."""
    own = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    line = f", line {own[-1].lineno}" if own else ""
    if isinstance(error, SyntaxError) and error.lineno:
        line = f", line {error.lineno}"
    reason = f"{type(error).__name__}: {error}"
    return UserError(f"{what} {path} fails{line}: {reason} (--debug shows where)")
