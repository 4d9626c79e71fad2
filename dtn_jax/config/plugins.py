"""Plug-ins: a file of one's own, outside the package, adds to what the package has.

A plug-in is a Python file with one or more of these dicts, {name: what it is}, at its top level:

    ARCHITECTURES   routings: subclasses of dtn_jax.models.architectures.Architecture
    EXPERTS         feature interactions: linen modules, see dtn_jax/models/experts/__init__.py
    DATASETS        subclasses of dtn_jax.data.sets.data_set.DataSet
    METRICS         records, dtn_jax.metrics.metric.Metric
    LOSSES          dataclasses, see dtn_jax/losses/__init__.py
    BALANCERS       dataclasses on dtn_jax.balancing.balancer.Balancer

Their options are fields declared by `dtn_jax.options.option`. `--plugins=FILE,FILE` loads
them, and so does a config file (`use`). The option keeps each file's absolute path and SHA-256: a
run, or a set that was prepared, belongs to that content, wherever the file lies, and a changed file
is told. What such a file imports from other files of yours is no part of that.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import pathlib
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from dtn_jax.balancing import NONE, balancer
from dtn_jax.config.sections import (
    FAMILIES,
    Family,
    base_config,
    declarations,
    flatten,
    takes_experts,
)
from dtn_jax.data.sets.catalog import DATASETS
from dtn_jax.data.sets.data_set import DataSet
from dtn_jax.errors import UserError, last_line
from dtn_jax.metrics.metric import Metric
from dtn_jax.options import declared
from dtn_jax.places import import_file

NAME = re.compile(r"[a-z][a-z0-9_]*")
PART = re.compile(r"(?P<path>.+?)(#(?P<sha>[0-9a-f]{64}))?")  # of the option `plugins`
SHOWN = 300  # characters of JAX's messages, which can fill pages
Names = dict[str, list[str]]  # {a key of KINDS: the names of that kind that a file defines}
loaded: dict[pathlib.Path, tuple[str, Names]] = {}  # {file: (SHA-256, what it defines)}
KINDS = {name: family for name, family in FAMILIES.items() if family.make}


def use(config: ConfigDict, files: str) -> None:
    """Loads plug-ins, gives a config their options, at their defaults, and adds them to its
    `plugins`."""
    text = load(files)
    with config.unlocked():
        for key, value in base_config().items():
            if isinstance(value, ConfigDict) and key in config:
                for name, option in value.items():
                    if name not in config[key]:
                        config[key][name] = option
        before = config.get("plugins", "")
        parts = [p.strip() for p in f"{before},{text}".split(",") if p.strip()]
        config.plugins = ",".join({_place(PART.fullmatch(p)["path"]): p for p in parts}.values())


def load(files: str) -> str:
    """Loads files, by comma, each once; returns them as the option keeps them: PATH#SHA256.

    Raises:
      UserError: a file is not there, fails, defines nothing or what lacks something, takes a name
        that is there already, or is not the one that its '#SHA256' says.
    """
    return ",".join(_load(part.strip()) for part in files.split(",") if part.strip())


def _place(name: str) -> pathlib.Path:
    return pathlib.Path(name).expanduser().absolute()


def _load(part: str) -> str:
    name, expected = PART.fullmatch(part).group("path", "sha")
    path = _place(name)
    if not path.is_file():
        raise UserError(f"plug-in {name} is not there (looked for {path})")
    source = path.read_bytes()
    digest = hashlib.sha256(source).hexdigest()
    if expected and digest != expected:
        raise UserError(
            f"plug-in {path} is not the file of this run any more: its SHA-256 was "
            f"{expected[:12]}, is {digest[:12]}; put the old file back, or begin a new run"
        )
    if all(digest != sha for sha, _ in loaded.values()):  # a copy of one adds nothing
        known = [loaded, *(kind.members for kind in KINDS.values())]
        before = [dict(one) for one in known]
        try:
            module = import_file(path, "plug-in", source)
            if any(one != was for one, was in zip(known, before)):
                raise UserError(
                    f"plug-in {path} changes a dict of the package: give it dicts of its own, "
                    f"{{name: ...}}, called as the package's: {', '.join(KINDS)}"
                )
            _add(path, module, digest)
        except BaseException:  # all of it or nothing
            for one, was in zip(known, before):
                one.clear()
                one.update(was)
            raise
    return f"{path}#{digest}"


def _add(path: pathlib.Path, module: ModuleType, sha: str) -> None:
    """Adds what a plug-in defines to the package's dicts."""
    for name, keys in loaded.pop(path, ("", {}))[1].items():  # of an earlier version of the file
        for key in keys:
            del KINDS[name].members[key]
    names: Names = {}
    loaded[path] = (sha, names)
    for name, kind in KINDS.items():
        members = getattr(module, name, kind.members)
        if not isinstance(members, dict):
            raise UserError(f"plug-in {path}: {name} is {members!r}, expected a dict {{name: ...}}")
        for key, member in members.items() if members is not kind.members else ():
            if problem := _taken(name, key) or _lacking(kind, key, member):
                raise UserError(f"plug-in {path}{_line(member)}: {name}[{key!r}]: {problem}")
            kind.members[key] = member
            names.setdefault(name, []).append(key)
    if not names:
        raise UserError(
            f"plug-in {path} defines nothing: expected a dict {{name: ...}} called "
            f"{', '.join(KINDS)}"
        )
    for key in names.get("DATASETS", []):
        DATASETS[key].SOURCE = sha


def _taken(kind: str, key: object) -> str:
    """Why a thing cannot have this name; '' where it can."""
    if not (isinstance(key, str) and NAME.fullmatch(key)):
        return "a name is of lower-case letters, digits and '_', and begins with a letter"
    section = KINDS[kind].section
    taken = ["a word of its section"] if key == NONE else []
    for other, of in KINDS.items():
        if key in of.members and of.section == section:
            files = [p for p, (_, names) in loaded.items() if key in names.get(other, [])]
            taken.append(f"{other} of {f'plug-in {files[0]}' if files else 'the package'}")
    option = f"{section}.{key}"
    taken += [f"the option {o}" for o in declarations() if f"{o}.".startswith(f"{option}.")]
    return f"the name is taken, by {taken[0]}; choose another" if taken else ""


def _lacking(kind: Family, key: str, member: Any) -> str:
    """What a thing lacks to be one of its kind; '' where nothing is missing."""
    base, is_class = kind.base, inspect.isclass(member)
    if not (isinstance(member, base) if base is Metric else is_class and issubclass(member, base)):
        expected = "a" if base is Metric else "a class" if base is object else "a subclass of"
        of = "" if base is object else f" {base.__module__}.{base.__qualname__}"
        return f"expected {expected}{of}, got {member!r}"
    if base in (Metric, DataSet) and (attribute := getattr(member, "name", "")) != key:
        return f"its attribute name is {attribute!r}, expected {key!r}"
    try:
        for name, option in declared(member).items():
            option.check(f"the default of option {name!r}: {name}", option.default)
        kind.make(member)
    except Exception as error:  # whatever a file of the user's may raise
        hint = "; a field that the package does not set is an option"
        return f"{error}{hint if isinstance(error, TypeError) else ''}"
    return ""


def check_used(config: ConfigDict | FrozenConfigDict) -> None:
    """Raises UserError where a config has what a plug-in defines and does not name the plug-in.

    Then its content would be no part of the run's identity.
    """
    load(config.plugins)
    flat = flatten(config)
    used = {name: kind.used(flat) for name, kind in KINDS.items()}
    for path, (sha, names) in loaded.items():
        taken = [key for kind, keys in names.items() for key in keys if key in used[kind]]
        if taken and sha not in config.plugins:
            raise UserError(
                f"{taken[0]!r} is of plug-in {path}, which the config's plugins="
                f"{config.plugins!r} does not name: give it by "
                "dtn_jax.config.plugins.use(config, FILES)"
            )


@contextlib.contextmanager
def told_as_built(config: FrozenConfigDict, traced: bool = False) -> Iterator[None]:
    """What is raised inside becomes a UserError that names the model, and a plug-in's line.

    Before the model is `traced`, a UserError is of an option, and says so itself.
    """
    try:
        yield
    except Exception as error:  # whatever a file of the user's, or JAX, may raise
        of_user = isinstance(error, UserError)
        if (of_user and not traced) or isinstance(error, balancer.BalancerFails):
            raise
        reason = str(error).partition("\n----")[0]  # JAX's remark on its traceback
        if not of_user:
            reason = f"{type(error).__name__}: {reason[:SHOWN]} (--debug shows where)"
        lines = {path: last_line(path, error) for path in loaded}
        places = "".join(f" ({path}, line {line})" for path, line in lines.items() if line)
        name = config.model.architecture
        takes = takes_experts({"model.architecture": name})
        experts = f" with experts {config.model.experts!r}" if takes else ""
        raise UserError(
            f"architecture {name!r}{experts} cannot be built{places}: {reason}"
        ) from error


def _line(member: Any) -> str:
    """', line N', where the class of a plug-in begins."""
    with contextlib.suppress(TypeError, OSError):  # it is no class
        return f", line {inspect.getsourcelines(member)[1]}"
    return ""
