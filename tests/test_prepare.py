"""The command that prepares a data set, and what it shows of it."""

import pytest

from dtn_jax.schema import UserError
from experiments import prepare


def test_prepares_once_and_shows_what_there_is(tmp_path, capsys, monkeypatch):
    arguments = ["--dataset=synthetic", "--options=rows=1000", f"--data_dir={tmp_path}"]
    prepare.main(arguments)
    shown = capsys.readouterr().out
    assert "Preparing synthetic" in shown
    for text in ("Fields of synthetic", "categorical", "click", "cart", "order", str(tmp_path)):
        assert text in shown
    prepare.main(arguments)
    assert "Preparing" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=adults"], "Did you mean 'adult'"),
        ([], "unknown data set ''"),
        (["--dataset=adult", "--options=rows=1"], "data set 'adult' has no options"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        prepare.main(arguments)
