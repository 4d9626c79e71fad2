"""What the tests of scoring share: a small model, and a file of its rows."""

import made_models
import pytest
from made_models import FRAME

from dtn_jax import export


@pytest.fixture(scope="module")
def made_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "made"
    made_models.builder_model(folder)
    return export.load(folder, largest=64)


@pytest.fixture
def made_day(tmp_path):
    FRAME.write_parquet(tmp_path / "day.parquet", row_group_size=2)
    return tmp_path / "day.parquet"
