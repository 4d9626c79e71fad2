"""The pictures of the docs that results have too are those of the results."""

import pathlib

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / "experiments/results"


def test_pictures_are_those_of_the_results():
    """By their names: that of the file, with its data set's folder before it or not."""
    found = {}
    for path in RESULTS.glob("importance/*.png"):
        found[path.name] = path
    for path in RESULTS.glob("paper/*/*.png"):
        found[f"{path.parent.name}_{path.name}"] = path
    shown = [path for path in (ROOT / "docs/pictures").glob("*.png") if path.name in found]
    assert len(shown) >= 5
    for path in shown:
        assert path.read_bytes() == found[path.name].read_bytes(), f"copy {found[path.name]}"
