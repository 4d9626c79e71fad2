"""A small model that nobody trained, and rows for it."""

import pytest
from made_models import FRAME, frame_model

from dtn_jax import export


@pytest.fixture(scope="session")
def made_model(tmp_path_factory):
    """A loaded model of a set that a builder prepared."""
    folder = tmp_path_factory.mktemp("models") / "made"
    frame_model(folder)
    return export.load(folder, largest=64)


@pytest.fixture
def made_day(tmp_path):
    """A file of rows for it, in three groups."""
    FRAME.write_parquet(tmp_path / "day.parquet", row_group_size=2)
    return tmp_path / "day.parquet"
