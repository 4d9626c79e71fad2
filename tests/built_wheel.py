"""The project's wheel, unpacked, and packages of this environment apart from all others."""

import importlib.metadata
import importlib.util
import pathlib
import subprocess
import sys
import zipfile

import pytest
from packaging.requirements import Requirement

ROOT = pathlib.Path(__file__).parents[1]


def unpacked(made: pathlib.Path, site: pathlib.Path) -> pathlib.Path:
    """The folder into which the wheel is unpacked, as an installer would."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("a wheel is built by hatchling, which is not installed: pip install '.[test]'")
    build = [sys.executable, "-m", "hatchling", "build", "--target=wheel", f"--directory={made}"]
    subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = made.iterdir()
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
    return site


def alone(packages: tuple[str, ...], folder: pathlib.Path) -> pathlib.Path:
    """Fills a folder with links to these packages and all that they require, and nothing else."""
    folder.mkdir()
    waiting, seen = list(packages), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        found = importlib.metadata.distribution(name)
        for top in {pathlib.PurePath(file).parts[0] for file in found.files or ()} - {".."}:
            place = pathlib.Path(str(found.locate_file(top)))
            if place.exists() and not (folder / top).exists():
                (folder / top).symlink_to(place)
        for text in found.requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(needed.name)
    return folder
