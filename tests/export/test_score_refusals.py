"""What scoring refuses, and what it leaves as it is: others' folders, damaged pieces, odd types."""

import made_models
import pytest
from made_models import FRAME

from dtn_jax import export
from dtn_jax.errors import UserError
from dtn_jax.export.score_files import Job


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "made"
    made_models.builder_model(folder)
    return export.load(folder, largest=64)


@pytest.fixture
def day(tmp_path):
    FRAME.write_parquet(tmp_path / "day.parquet", row_group_size=2)
    return tmp_path / "day.parquet"


def test_a_folder_of_another_is_left_as_it_is(model, day, tmp_path):
    mine = tmp_path / "s.csv.parts"
    mine.mkdir()
    (mine / "202401.csv").write_text("mine")
    with pytest.raises(UserError, match=r"s\.csv\.parts.* not of this command: .*'202401\.csv'"):
        Job(model, [str(day)], tmp_path / "s.csv")
    assert [path.name for path in mine.iterdir()] == ["202401.csv"]
    (mine / "202401.csv").unlink()
    (mine / "made_from.json").write_text("{}")
    (mine / "notes.tmp").write_text("mine")
    list(Job(model, [str(day)], tmp_path / "s.csv").run())
    assert [path.name for path in mine.iterdir()] == ["notes.tmp"]
