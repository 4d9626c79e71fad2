"""What a sweep searches."""

import pytest

from configs import base
from dtn_jax.errors import UserError
from experiments.search.search_space import described, load_space, read_grid


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
    told = described(space_of(), base.get_config())
    assert told == described(space_of(), base.get_config())
    assert '"model.dropout"' in told
    assert '"half"' in told
    assert '"fixed": {"optim.schedule": "cosine"}' in told
    for other in (space_of(high=8), space_of(fixed="linear"), space_of(rare=99)):
        assert described(other, base.get_config()) != told


def test_a_space_that_fails_is_told():
    here = r"the space fails in .*test_search_space.py, line \d+: ZeroDivisionError"
    with pytest.raises(UserError, match=here):
        described(lambda trial: 1 / 0, base.get_config())
    with pytest.raises(UserError, match=r"returned None, expected \{option: value\}"):
        described(lambda trial: None, base.get_config())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.select", "income", r"cannot set train\.select: trials would not compare"),
        ("model.architecture", "ple", "cannot set model.architecture: .*; use --architectures"),
        ("data.dataset", "synthetic", r"cannot set data\.dataset"),
        ("model.dropuot", "0.1", "Did you mean model.dropout"),
        ("model.dropout", "much", "model.dropout"),
    ],
)
def test_what_no_trial_can_have_is_told_before_the_first(key, value, message):
    with pytest.raises(UserError, match=message):
        described(lambda trial: {key: value}, base.get_config())
    with pytest.raises(UserError, match=message):
        read_grid(f"{key}={value}", base.get_config())


def test_equal_values_of_a_grid_are_one():
    grid = read_grid(
        "optim.learning_rate=1e-3,0.001,2e-3;model.mlp.hidden=(8,),(8, )", base.get_config()
    )
    assert grid == {"optim.learning_rate": ["1e-3", "2e-3"], "model.mlp.hidden": ["(8,)"]}


def test_options_of_the_data_are_searched_where_the_rows_stay(tmp_path):
    config = base.get_config()
    config.data.dataset, config.data.options = "ali_ccp", "max_values=20,damaged=5"
    grid = "data.options=damaged=5"
    assert read_grid(grid, config) == {"data.options": ["damaged=5"]}
    with pytest.raises(UserError, match=r"judged on other rows .* keep the rows: min_count, max_v"):
        read_grid("data.options=conversion_without_click=keep", config)
    config.data.dataset, config.data.options = "synthetic", ""
    with pytest.raises(UserError, match=r"judged on other rows .* keep the rows: none"):
        read_grid("data.options=rows=20000", config)


def test_the_shipped_space_is_found_behind_a_config_without_one():
    found = load_space("", "configs/adult.py:dtn")
    assert found.__module__ == "dtn_jax.configs.space"
    assert '"optim.table_l2"' in described(found, base.get_config())
    found = load_space("", "configs/synthetic.py")
    assert '"optim.table_learning_rate"' in described(found, base.get_config())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no file .* with a function"),
        ("sweep =", "fails, line 1: SyntaxError"),
        ("import nothing_of_that_name", "fails, line 1: ModuleNotFoundError"),
        ("def search(trial): ...", "has no function sweep"),
    ],
)
def test_a_file_without_a_space_is_an_error(text, message, tmp_path, monkeypatch):
    file = tmp_path / "mine.py"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr("experiments.search.search_space.SPACE", file)
    with pytest.raises(UserError, match=message):
        load_space(str(file), "configs/adult.py")


def test_values_of_a_grid_may_be_tuples():
    grid = read_grid("model.mlp.hidden=(64,),(128, 64); seed=1,2", base.get_config())
    assert grid == {"model.mlp.hidden": ["(64,)", "(128, 64)"], "seed": ["1", "2"]}


def test_a_grid_has_each_point_once():
    assert read_grid("seed=1,2,1", base.get_config()) == {"seed": ["1", "2"]}
    with pytest.raises(UserError, match="'seed' is given twice"):
        read_grid("seed=1;seed=2", base.get_config())
