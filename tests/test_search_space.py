"""What a sweep searches."""

import pathlib

import pytest

from configs import base, space
from dtn_jax.schema import UserError
from experiments.search_space import described, load_space, read_grid


def space_of(high=9, fixed="cosine", rare=8):
    """A space with an option that only some trials have."""

    def suggest(trial):
        seed = trial.suggest_int("seed", 0, high)
        found = {"seed": seed, "optim.schedule": fixed}
        if seed == rare:
            found["model.dropout"] = trial.suggest_float("half", 0, 0.2)
        return found

    return suggest


def test_a_space_is_told_by_its_options_ranges_and_what_it_fixes():
    told = described(space_of())
    assert told == described(space_of())
    assert '"model.dropout"' in told
    assert '"half"' in told
    assert '"fixed": {"optim.schedule": "cosine"}' in told
    for other in (space_of(high=8), space_of(fixed="linear"), space_of(rare=99)):
        assert described(other) != told


def test_a_space_that_fails_or_sets_what_trials_are_compared_by_is_refused():
    with pytest.raises(UserError, match="the space fails: ZeroDivisionError"):
        described(lambda trial: 1 / 0)
    with pytest.raises(UserError, match=r"cannot set train\.select"):
        described(lambda trial: {"train.select": "income"})


def test_the_shipped_space_is_found_behind_a_config_without_one():
    found = load_space("", "configs/adult.py:dtn")
    assert pathlib.Path(found.__code__.co_filename).name == "space.py"
    assert described(found) == described(space.sweep)
    assert described(load_space("", "configs/synthetic.py")) == described(space.with_table_rate)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no file .* with a function"),
        ("sweep =", "fails: SyntaxError"),
        ("import nothing_of_that_name", "fails: ModuleNotFoundError"),
        ("def search(trial): ...", "has no function sweep"),
    ],
)
def test_a_file_without_a_space_is_an_error(text, message, tmp_path, monkeypatch):
    file = tmp_path / "mine.py"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr("experiments.search_space.SPACE", file)
    with pytest.raises(UserError, match=message):
        load_space(str(file), "configs/adult.py")


def test_values_of_a_grid_may_be_tuples():
    grid = read_grid("model.mlp.hidden=(64,),(128, 64); seed=1,2", base.get_config())
    assert grid == {"model.mlp.hidden": ["(64,)", "(128, 64)"], "seed": ["1", "2"]}
