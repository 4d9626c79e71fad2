"""Where files lie: at a path that a user gives, in the user's cache; and configs, protocols and
references, inside an installed package, beside it in a clone. How a Python file, one of these or a
user's own, is run.

Under the names dtn_jax.configs and dtn_jax.protocols the shipped ones are found from any folder,
whatever other packages of those names there are.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import os
import pathlib
import re
import sys
from types import ModuleType

from dtn_jax.errors import UserError, told_as_failed

PACKAGE = pathlib.Path(__file__).parent
IN_A_CLONE = {
    "configs": "configs",
    "protocols": "experiments/protocols",
    "references": "experiments/results/references",
}


def full_path(path: str | pathlib.Path) -> pathlib.Path:
    """The absolute path of a file or a folder, without `~`, `.` and `..`: TensorStore, which reads
    checkpoints, refuses them. Links stay, unless a `..` asks where one leads.

    Raises:
      UserError: it is a URL.
    """
    if re.match(r"[A-Za-z][\w+.-]*:/", str(path)):
        raise UserError(f"{path} is a URL, expected a file or a folder of this machine")
    whole = pathlib.Path(path).expanduser().absolute()
    return pathlib.Path(os.path.realpath(whole)) if ".." in whole.parts else whole


def cache_folder() -> pathlib.Path:
    """The user's cache folder, for prepared sets and compiled programs."""
    root = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(root) / "dtn_jax"


def folder(name: str) -> pathlib.Path:
    """The folder of a shipped package."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / IN_A_CLONE[name]


def package(name: str) -> str:
    """The full name of the shipped package `name`, which is imported."""
    full = f"{PACKAGE.name}.{name}"
    if full not in sys.modules:
        place = folder(name)
        spec = importlib.util.spec_from_file_location(
            full, place / "__init__.py", submodule_search_locations=[str(place)]
        )
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return full


def config_files(near: pathlib.Path) -> list[str]:
    """The config files in the folder `near`, else beside it, else the shipped ones."""
    for place in (near, near.parent, pathlib.Path("configs"), folder("configs")):
        files = sorted(place.glob("*.py"))
        known = [f for f in files if "\ndef get_config(argument" in f.read_text()]
        if known:
            return [f"configs/{f.name}" if place == folder("configs") else str(f) for f in known]
    return []


def config_path(path: str) -> pathlib.Path:
    """The config file of this path; raises UserError where there is none."""
    file = pathlib.Path(path)
    shipped = folder("configs").parent / file
    if not file.is_file() and file.parts[:1] == ("configs",) and shipped.is_file():
        file = shipped
    place = file if file.is_dir() else file.parent
    if file.suffix != ".py" and (place / "config.json").is_file():
        raise UserError(
            f"{path} is a run's, and no config file. To resume or show the run, give the --config "
            f"that it began with, and --workdir={place}"
        )
    if not file.is_file() or file.suffix != ".py":
        raise UserError(f"no config file {path!r}; {config_choices(file)}")
    return file


def config_choices(near: pathlib.Path) -> str:
    """What a message says of the config files that there are."""
    return f"the config files are: {', '.join(config_files(near)) or 'none'}"


def schema_path(path: str | pathlib.Path) -> pathlib.Path:
    """A schema file; raises UserError, with the nearest name beside it, where there is none."""
    file = pathlib.Path(path).expanduser()
    if not file.exists():
        beside = [p for p in file.parent.glob("*") if p.suffix in (".yaml", ".yml", ".json")]
        names = sorted(p.name for p in beside)
        near = difflib.get_close_matches(file.name, names, n=1, cutoff=0)
        hint = f"; did you mean {file.with_name(near[0])}?" if near else ""
        raise UserError(f"there is no schema file {str(path)!r}{hint}")
    return file


def protocols() -> dict[str, pathlib.Path]:
    """{name of a shipped protocol: its file}"""
    return {path.stem: path for path in sorted(folder("protocols").glob("[!_]*.py"))}


def protocol_groups() -> dict[str, list[str]]:
    """{what several protocols begin with: these}: one for each file _NAME.py that some NAME_SET.py
    share."""
    names = [path.stem[1:] for path in folder("protocols").glob("_[!_]*.py")]
    groups = {name: [p for p in protocols() if p.startswith(f"{name}_")] for name in sorted(names)}
    return {name: of for name, of in groups.items() if of}


def import_file(
    path: pathlib.Path, what: str, source: bytes | None = None, package: str | None = None
) -> ModuleType:
    """Runs a Python file; raises UserError that says where it fails.

    What is run is `source`, or what the file holds now: no bytecode of an earlier version. Its
    relative imports are of `package`.
    """
    path = path.absolute()
    name = f"{path.stem}_{hashlib.sha256(bytes(path)).hexdigest()[:8]}"  # hides no other module
    module = sys.modules[name] = ModuleType(name)  # dataclasses look their module up
    module.__file__, module.__package__ = str(path), package
    with told_as_failed(path, what):
        text = path.read_bytes() if source is None else source
        exec(compile(text, str(path), "exec", dont_inherit=True), vars(module))
    return module
