"""The command that prepares a data set, and what it shows of it."""

import pytest

from dtn_jax.datasets.preparation import catalog
from dtn_jax.errors import UserError
from experiments import generate_ali_ccp, prepare


def test_prepares_once_and_shows_what_there_is(tmp_path, capsys, monkeypatch):
    arguments = ["--dataset=synthetic", "--options=rows=1000", f"--data_dir={tmp_path}"]
    prepare.main(arguments)
    shown = capsys.readouterr().out
    assert "Preparing synthetic" in shown
    for text in ("Fields of synthetic", "categorical", "click", "cart", "order", str(tmp_path)):
        assert text in shown
    prepare.main(arguments)
    assert "Preparing" not in capsys.readouterr().out


def test_the_account_is_shown_once(tmp_path, capsys):
    generate_ali_ccp.main([f"--out={tmp_path}/raw/ali_ccp", "--rows=300", "--odd=0.5"])
    for _ in range(2):  # the second time the set is there
        capsys.readouterr()
        prepare.main(
            ["--dataset=ali_ccp", f"--manual_dir={tmp_path}/raw", f"--data_dir={tmp_path}"]
        )
        assert capsys.readouterr().out.count("conversions without a click left out: ") == 1


def test_help_lists_the_options_of_every_data_set(capsys):
    with pytest.raises(SystemExit):
        prepare.main(["--help"])
    shown = capsys.readouterr().out
    shown = shown.partition("own options, with")[2]
    words = " ".join(shown.split())
    assert "kuairand_pure: none" in words
    for name, builder in catalog.DATASETS.items():
        assert name in words
        for key, found in builder.OPTIONS.items():
            assert f"{key}={found.default}: {found.help} [{found.expected}]" in words
    assert "buckets=64: quantile buckets of a numeric field [a whole number at least 2" in words
    assert max(map(len, shown.partition("example:")[0].splitlines())) < 80


def test_the_example_of_help_works(tmp_path, capsys):
    """Anywhere: it needs no raw files."""
    command, *arguments = prepare.EXAMPLE.splitlines()[-1].partition("-m ")[2].split()
    assert command == "experiments.prepare"
    prepare.main([*arguments, f"--data_dir={tmp_path}"])
    assert "80,000 train" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=adults"], "Did you mean 'adult'"),
        ([], "give one of --infer, --schema=FILE and --dataset=NAME"),
        (["--dataset=adult", "--options=rows=1"], "unknown option of data set 'adult' 'rows'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        prepare.main(arguments)
