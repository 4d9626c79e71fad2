"""The configs, protocols and references: inside an installed package, beside it in a clone.

Under the names dtn_jax.configs and dtn_jax.protocols they are found from any folder, whatever
other packages of those names there are.
"""

from __future__ import annotations

import importlib
import importlib.util
import pathlib
import sys
from types import ModuleType

from dtn_jax.errors import UserError

PACKAGE = pathlib.Path(__file__).parent
IN_A_CLONE = {
    "configs": "configs",
    "protocols": "experiments/protocols",
    "references": "experiments/results/references",
}


def folder(name: str) -> pathlib.Path:
    """The folder of a shipped package."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / IN_A_CLONE[name]


def module(name: str, part: str) -> ModuleType:
    """Imports `part` of the shipped package `name`."""
    return importlib.import_module(f"{package(name)}.{part}")


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


def config_choices(file: pathlib.Path) -> str:
    """What a message says of the config files near `file`."""
    return f"the config files are: {', '.join(config_files(file)) or 'none'}"


def protocols() -> dict[str, pathlib.Path]:
    """{name of a shipped protocol: its file}"""
    return {path.stem: path for path in sorted(folder("protocols").glob("[!_]*.py"))}


def protocol_groups() -> dict[str, list[str]]:
    """{what several protocols begin with: these}: one for each file _NAME.py that some NAME_SET.py
    share."""
    names = [path.stem[1:] for path in folder("protocols").glob("_[!_]*.py")]
    groups = {name: [p for p in protocols() if p.startswith(f"{name}_")] for name in sorted(names)}
    return {name: of for name, of in groups.items() if of}
