"""What is wrong is named by the words that its user wrote."""

import made_models
import pytest
from made_models import FRAME

from dtn_jax import export
from dtn_jax.errors import UserError
from dtn_jax.export.score_files import Job
from dtn_jax.export.serve import description, json_text, reading
from dtn_jax.export.serve.refused import Refused
from experiments import export as export_command
from experiments import score


def test_options_and_places(tmp_path):
    given = [f"--model={tmp_path}/nix", "--input=a", f"--output={tmp_path}/s.csv"]
    with pytest.raises(UserError, match="--batch_rows=100, expected a power of two, 8 or more"):
        score.main([*given, "--batch_rows=100"])
    with pytest.raises(UserError, match="is not there, so it holds no model"):
        score.main(given)


@pytest.mark.parametrize("more", [["--workdir=a", "--out=b"], ["--again=a"]])
def test_a_batch_size_has_no_use_without_onnx(more):
    with pytest.raises(UserError, match="--batch_size=64 is for --onnx"):
        export_command.main([*more, "--batch_size=64"])


def test_columns_and_the_example(tmp_path):
    made_models.builder_model(tmp_path / "made")
    model = export.load(tmp_path / "made", largest=64)
    FRAME.drop("speed").write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match="The columns are: word, id,"):
        Job(model, [str(tmp_path / "a.parquet")], tmp_path / "s.csv")
    assert "placeholders" in description.describe(model, reading.read(model))["note"]


def test_a_number_of_many_digits():
    with pytest.raises(Refused) as refused:
        json_text.parse(b'{"rows": [{"a": ' + b"1" * 6000 + b"}]}")
    assert refused.value.message.endswith("one of its numbers has thousands of digits")
