"""What the command refuses before any server is there, and when a new model takes over."""

import sys

import made_models
import pytest
from made_models import FRAME
from served import ROWS, Served

from dtn_jax.cli import serve
from dtn_jax.errors import UserError
from dtn_jax.export.serve.process import look, model_id


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Models by what they are beside the first one, `old`."""
    made = tmp_path_factory.mktemp("models")
    made_models.frame_model(made / "old")
    made_models.frame_model(made / "other", FRAME.with_columns(FRAME["size"] * 3))
    made_models.frame_model(made / "fewer", tasks=("click", "stars"))
    made_models.frame_model(made / "lenient", optional=("speed",))
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
        seen = look(served.worker, place, "memory", seen)
        assert look(served.worker, place, "memory", seen) == seen == model_id(place)
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


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--max_batch=100", "max_batch=100, expected a power of two"),
        ("--max_batch=4", "max_batch=4, expected a power of two, 8 or more"),
        ("--rows=0", "rows=0, expected 1 or more"),
        ("--stop_seconds=nan", "stop_seconds=nan, expected 0.1 or more"),
        ("--stop_seconds=inf", "stop_seconds=inf"),
        ("--tables=tape", "unknown place of the tables 'tape'"),
        ("--port=123456", "can't listen on 127.0.0.1, port 123456"),
        ("--host=no.such.host.invalid", "can't listen on no.such.host.invalid"),
    ],
)
def test_wrong_options(folders, option, words):
    with pytest.raises(UserError, match=words.replace("(", r"\(")):
        serve.main([f"--model={folders / 'old'}", option])


def test_where_a_token_is_read(tmp_path, monkeypatch):
    monkeypatch.delenv("DTN_SERVE_TOKEN", raising=False)
    assert serve.read_token("") == ""
    (tmp_path / "token").write_text("abc\n")
    monkeypatch.setenv("DTN_SERVE_TOKEN", " xyz")
    assert (serve.read_token(""), serve.read_token(f"{tmp_path}/token")) == ("xyz", "abc")
    (tmp_path / "token").write_text(" \n")
    with pytest.raises(UserError, match="token holds no token"):
        serve.read_token(f"{tmp_path}/token")


def test_a_missing_extra_is_named(folders, monkeypatch):
    monkeypatch.delitem(sys.modules, "dtn_jax.export.serve.process", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UserError, match=r"needs uvicorn, .*pip install -e '.\[serve\]'"):
        serve.main([f"--model={folders / 'old'}"])


def test_no_model(tmp_path):
    with pytest.raises(UserError, match="--model is missing"):
        serve.main([])
    with pytest.raises(UserError, match="holds no model"):
        serve.main([f"--model={tmp_path}"])
