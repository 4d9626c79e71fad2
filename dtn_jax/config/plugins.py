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

import hashlib
import pathlib
import re
import sys
import traceback
from types import ModuleType

from ml_collections import ConfigDict, FrozenConfigDict

from dtn_jax.config.plugin_checks import KINDS, sharing, taken_option
from dtn_jax.config.sections import FAMILIES, base_config, flatten
from dtn_jax.errors import UserError

NAME = re.compile(r"[a-z][a-z0-9_]*")
PART = re.compile(r"(?P<path>.+?)(#(?P<sha>[0-9a-f]{64}))?")  # of the option `plugins`
Names = dict[str, list[str]]  # {a key of KINDS: the names of that kind that a file defines}
loaded: dict[pathlib.Path, tuple[str, Names]] = {}  # {file: (SHA-256, what it defines)}


def use(config: ConfigDict, files: str) -> None:
    """Loads plug-ins, gives a config their options, at their defaults, and adds them to its
    `plugins`."""
    text = load(files)
    with config.unlocked():
        for key, value in base_config().items():
            if isinstance(value, ConfigDict) and key in config:
                for name, own in value.items():
                    if name not in config[key]:
                        config[key][name] = own
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
    found = hashlib.sha256(source).hexdigest()
    if expected and found != expected:
        raise UserError(
            f"plug-in {path} is not the file of this run any more: its SHA-256 was "
            f"{expected[:12]}, is {found[:12]}; put the old file back, or begin a new run"
        )
    if all(found != sha for sha, _ in loaded.values()):  # a copy of one adds nothing
        loaded[path] = (found, _add(path, _run(path, source), found))
    return f"{path}#{found}"


def _run(path: pathlib.Path, source: bytes) -> ModuleType:
    """Imports a plug-in, which may read the package's dicts but not write into them."""
    before = {name: dict(kind.known) for name, kind in KINDS.items()}
    try:
        module = import_file(path, "plug-in", source)
    finally:
        touched = [name for name, kind in KINDS.items() if kind.known != before[name]]
        for name in touched:
            KINDS[name].known.clear()
            KINDS[name].known.update(before[name])
    if touched:
        raise UserError(
            f"plug-in {path} changes {touched[0]} of the package: give it a dict {touched[0]} of "
            "its own, {name: ...}"
        )
    return module


def _add(path: pathlib.Path, module: ModuleType, source: str) -> Names:
    """Adds what a module defines to the package's dicts; all of it or nothing."""
    before = loaded.get(path, ("", {}))[1]  # of an earlier version of the same file
    own = {
        name: getattr(module, name)
        for name, kind in KINDS.items()
        if getattr(module, name, kind.known) is not kind.known
    }
    for name, members in own.items():
        if not isinstance(members, dict):
            raise UserError(f"plug-in {path}: {name} is {members!r}, expected a dict {{name: ...}}")
    if not any(own.values()):
        raise UserError(
            f"plug-in {path} defines nothing: expected a dict {{name: ...}} called "
            f"{', '.join(KINDS)}"
        )
    for name, members in own.items():
        for key, member in members.items():
            if problem := _problem(name, key, member, before, own):
                raise UserError(f"plug-in {path}: {name}[{key!r}]{problem}")
    for name, keys in before.items():
        for key in keys:
            del KINDS[name].known[key]
    for name, members in own.items():
        KINDS[name].known.update(members)
    for builder in own.get("DATASETS", {}).values():
        builder.SOURCE = source
    return {name: list(members) for name, members in own.items()}


def _problem(kind: str, key: object, member: object, before: Names, own: dict[str, dict]) -> str:
    """What is wrong with an entry of a plug-in, or ''.

    Args:
      kind: of KINDS.
      key, member: the entry.
      before: what an earlier version of the file defined, which this one replaces.
      own: all that this one defines.
    """
    if not (isinstance(key, str) and NAME.fullmatch(key)):
        return ": a name is of lower-case letters, digits and '_', and begins with a letter"
    taken = [f"{other} of the same file" for other in sharing(kind) if other != kind]
    taken = [by for by in taken if key in own.get(by.partition(" ")[0], {})]
    for other in sharing(kind):
        if key in KINDS[other].known and key not in before.get(other, []):
            files = [p for p, (_, names) in loaded.items() if key in names.get(other, [])]
            taken.append(f"{other} of {f'plug-in {files[0]}' if files else 'the package'}")
    if key in KINDS[kind].words:
        taken.append("a word of its section")
    if taken:
        return f": the name is taken, by {taken[0]}; choose another"
    if wrong := KINDS[kind].wrong(key, member):
        return f" is {member!r}: {wrong}"
    if key not in before.get(kind, []) and (option := taken_option(kind, key, member)):
        return f": the name is taken, by the option {option}; choose another"
    return ""


def check_used(config: ConfigDict | FrozenConfigDict) -> None:
    """Raises UserError where a config has what a plug-in defines and does not name the plug-in.

    Then its content would be no part of the run's identity.
    """
    parts = [PART.fullmatch(p.strip()) for p in config.plugins.split(",") if p.strip()]
    here = {sha for sha, _ in loaded.values()}
    for part in parts:
        if part["sha"] not in here:
            raise UserError(
                f"plugins={config.plugins}: {part['path']} is not loaded; a config gets its "
                "plug-ins by dtn_jax.config.plugins.use(config, FILES)"
            )
    flat = flatten(config)
    used = {
        name: family.used(flat)
        for family in FAMILIES
        for name, kind in KINDS.items()
        if kind.known is family.members
    }
    used["DATASETS"] = {config.data.dataset}
    used["METRICS"] = set(re.findall(r":(\w+)", config.train.select))
    for path, (sha, names) in loaded.items():
        taken = [key for name in used for key in names.get(name, []) if key in used[name]]
        if taken and sha not in [part["sha"] for part in parts]:
            raise UserError(
                f"{taken[0]!r} is of plug-in {path}, which the config's plugins={config.plugins!r} "
                "does not name: give it by dtn_jax.config.plugins.use(config, FILES)"
            )


def import_file(path: pathlib.Path, what: str, source: bytes | None = None) -> ModuleType:
    """Runs a Python file of the user's; raises UserError that says where it fails.

    What is run is `source`, or what the file holds now: no bytecode of an earlier version.
    """
    path = path.absolute()
    name = f"{path.stem}_{hashlib.sha256(bytes(path)).hexdigest()[:8]}"  # hides no other module
    module, before = ModuleType(name), sys.modules.get(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        text = path.read_bytes() if source is None else source
        exec(compile(text, str(path), "exec", dont_inherit=True), vars(module))
    except BaseException as error:
        del sys.modules[name]
        if before:
            sys.modules[name] = before
        if isinstance(error, UserError) or not isinstance(error, Exception | SystemExit):
            raise
        raise failed(path, what, error) from error
    return module


def failed(path: pathlib.Path, what: str, error: BaseException) -> UserError:
    """The message of a user's file that raised."""
    line = last_line(path, error)
    if isinstance(error, SyntaxError) and error.lineno:
        line = error.lineno
    reason = f"{type(error).__name__}: {error}"
    where = f", line {line}" if line else ""
    return UserError(f"{what} {path} fails{where}: {reason} (--debug shows where)")


def last_line(path: pathlib.Path, error: BaseException) -> int | None:
    """The line of a file in which an error was raised, or that called what raised it."""
    own = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return own[-1].lineno if own else None


def place_of(error: BaseException) -> str:
    """' (FILE, line N)' where an error came from a loaded plug-in, or ''."""
    lines = {path: last_line(path, error) for path in loaded}
    return "".join(f" ({path}, line {line})" for path, line in lines.items() if line)
