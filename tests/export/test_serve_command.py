"""The command's own refusals, before any server is there."""

import sys

import pytest
from made_models import builder_model

from dtn_jax.errors import UserError
from experiments import serve


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "m"
    builder_model(folder)
    return folder


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--max_batch=100", "max_batch=100, expected a power of two"),
        ("--max_batch=4", "max_batch=4, expected a power of two, 8 or more"),
        ("--rows=0", "rows=0, expected 1 or more"),
        ("--max_wait_ms=nan", "max_wait_ms=nan, expected 0 or more"),
        ("--body_seconds=inf", "body_seconds=inf"),
        ("--tables=tape", "unknown place of the tables 'tape'"),
        ("--port=123456", "can't listen on 127.0.0.1, port 123456"),
        ("--host=no.such.host.invalid", "can't listen on no.such.host.invalid"),
    ],
)
def test_wrong_options(model, option, words):
    with pytest.raises(UserError, match=words.replace("(", r"\(")):
        serve.main([f"--model={model}", option])


def test_no_model(tmp_path):
    with pytest.raises(UserError, match="no model: give --model=MODEL"):
        serve.main([])
    with pytest.raises(UserError, match="holds no model"):
        serve.main([f"--model={tmp_path}"])


def test_a_missing_extra_is_named(model, monkeypatch):
    monkeypatch.delitem(sys.modules, "dtn_jax.export.serve.process", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UserError, match=r"needs uvicorn, .*pip install -e '.\[serve\]'"):
        serve.main([f"--model={model}"])
