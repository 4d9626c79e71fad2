"""What the command refuses before any server is there, and when a new model takes over."""

import made_models
import pytest
from made_models import FRAME
from served import ROWS, Served

from dtn_jax.cli import serve
from dtn_jax.errors import UserError
from dtn_jax.export.model_folder import model_id
from dtn_jax.export.serve.process import look


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Models by what they are beside the first one, `old`."""
    made = tmp_path_factory.mktemp("models")
    made_models.frame_model(made / "old")
    made_models.frame_model(made / "other", FRAME.with_columns(FRAME["size"] * 3))
    made_models.frame_model(made / "fewer", tasks=("click", "stars"))
    optional = {"speed": "{kind: numeric, encoder: standardise, optional: true}"}
    made_models.frame_model(made / "lenient", fields=optional)
    lists = FRAME.with_columns(word=FRAME["tags"])
    made_models.frame_model(made / "lists", lists, {"word": "{kind: bag}"})
    made_models.frame_model(made / "buckets", fields={"speed": "{kind: numeric}"})
    return made


def looked(folders, tmp_path, caplog, first, second):
    """The server after a look at the second model in the place of the first."""
    place = tmp_path / "model"
    place.symlink_to(folders / first)
    served = Served(place)
    served.worker.ready.set()
    seen = model_id(place)
    place.unlink()
    place.symlink_to(folders / second)
    caplog.clear()
    with caplog.at_level("INFO", "dtn_jax.serve"):
        seen = look(served.worker, place, seen)
        assert look(served.worker, place, seen) == seen == model_id(place)
    return served


@pytest.mark.parametrize(
    ("first", "second"),
    [("old", "other"), ("old", "lenient"), ("fewer", "old"), ("old", "buckets")],
)
def test_it_takes_over(folders, tmp_path, caplog, first, second):
    served = looked(folders, tmp_path, caplog, first, second)
    assert served.worker.contract is not served.contract
    assert "takes over" in caplog.text
    assert served.worker.contract.model.score(ROWS)["click@all"].is_finite().all()


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("old", "fewer", "lacks outputs that the old one gives: order@click, order@all; a restart"),
        ("lenient", "old", "no column 'speed', which the model needs"),
        (
            "old",
            "lists",
            "row 1, column 'word': wrong type: 'a'; a restart",
        ),
    ],
)
def test_it_is_refused(folders, tmp_path, caplog, first, second, told):
    served = looked(folders, tmp_path, caplog, first, second)
    assert served.worker.contract is served.contract
    (record,) = caplog.records
    assert told in record.getMessage()
    assert "the new model is refused, the old one stays" in record.getMessage()
    registry = served.worker.metrics.registry
    assert registry.get_sample_value("dtn_reloads_total", {"result": "refused"}) == 1


# ---------------------------------------------------------------- the command


def test_where_a_token_is_read(tmp_path, monkeypatch):
    monkeypatch.delenv("DTN_SERVE_TOKEN", raising=False)
    assert serve.read_token("") == ""
    (tmp_path / "token").write_text("abc\n")
    monkeypatch.setenv("DTN_SERVE_TOKEN", " xyz")
    assert (serve.read_token(""), serve.read_token(f"{tmp_path}/token")) == ("xyz", "abc")
    (tmp_path / "token").write_text(" \n")
    for file, error in (("token", UserError), ("none", FileNotFoundError)):
        with pytest.raises(error, match=str(tmp_path / file)):
            serve.read_token(str(tmp_path / file))
