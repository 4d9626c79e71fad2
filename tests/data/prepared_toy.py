"""Fixtures: a small prepared set, and copies of it to spoil."""

import pathlib
import shutil

import pytest
from toy_set import Toy


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A prepared set that no test touches."""
    builder = Toy(data_dir=str(tmp_path_factory.mktemp("toy")))
    builder.download_and_prepare()
    return pathlib.Path(builder.data_dir)


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of the prepared set to spoil."""
    return pathlib.Path(shutil.copytree(whole, tmp_path / "toy" / "1.0.0"))
