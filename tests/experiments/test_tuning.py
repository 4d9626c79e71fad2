"""The tuning of a table's entries: equal budgets, other starts, finalists over seeds."""

import dataclasses
import pathlib

import optuna
import pytest
from studies_in_memory import in_memory
from untrained_tables import TINY

from dtn_jax.datasets.preparation import catalog
from dtn_jax.errors import UserError
from experiments.search import finalists, sweep_report
from experiments.search.trials import ERROR, SETTINGS, stretches
from experiments.tables import tuning
from experiments.tables.entries import overall
from experiments.tables.protocol import configured

COMPLETE, PRUNED = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED
ROOMY = dataclasses.replace(
    TINY,
    common=TINY.common | {"train.max_steps": 9, "train.eval_every": 1},
    trials=2,
    finalists=2,
    finalist_seeds=2,
)


def trial(value=None, validations=None, **attributes):
    """A trial that trained to the end, or was ended where it has no value."""
    return optuna.trial.create_trial(
        value=value,
        state=PRUNED if value is None else COMPLETE,
        intermediate_values=validations or {},
        user_attrs=attributes,
    )


@pytest.fixture(scope="module")
def tuned(prepared_dir, tmp_path_factory):
    """{entry: what is kept of its tuning}, of two entries in nine steps."""
    found = {}
    for name in ROOMY.entries:
        places = {"data.data_dir": str(prepared_dir)}
        config = configured(ROOMY, *tuning.start(ROOMY, name, places))
        data = catalog.load("adult", "", str(prepared_dir), "")
        run = tmp_path_factory.mktemp(name)
        found[name] = tuning.tune(ROOMY, name, config, data, run)
    return found


@pytest.mark.slow
def test_entries_spend_the_same_number_of_examples(tuned):
    spent = {kept["budget"]["examples"] for kept in tuned.values()}
    (run,) = {kept["budget"]["run"] for kept in tuned.values()}
    assert spent == {ROOMY.trials * run}


@pytest.mark.slow
def test_most_trials_are_ended_early_and_those_that_are_not_began_well(tuned):
    for kept in tuned.values():
        lengths = [len(t["validations"]) for t in kept["trials"]]
        early = [length for length in lengths if length <= 3]  # where halving judges
        assert 1 in early
        assert len(early) > len(lengths) / 2
        assert lengths[:2] == [1, 1]  # there is nothing to compare them with
        first = [t["validations"]["1"] for t in kept["trials"]]
        went_on = [number for number, length in enumerate(lengths) if length > 1]
        assert went_on
        for number in went_on:  # each was in the best third of those before it and itself
            ranked = sorted(first[: number + 1], reverse=True)
            assert first[number] >= ranked[len(ranked) // 3 - 1]


@pytest.mark.slow
def test_entries_begin_with_other_settings(tuned):
    dtn, other = (kept["trials"][0]["settings"] for kept in tuned.values())
    assert dtn.keys() == other.keys()
    assert dtn != other


@pytest.mark.slow
def test_the_winner_is_the_best_finalist(tuned):
    for kept in tuned.values():
        means = [sum(one["values"]) / len(one["values"]) for one in kept["finalists"]]
        assert [len(one["values"]) for one in kept["finalists"]] == [2, 2]
        assert kept["value"] == pytest.approx(max(means))
        assert kept["settings"] == kept["finalists"][0]["settings"]


def test_the_best_come_first_and_then_those_that_came_furthest():
    study = in_memory(9)
    for given in (
        trial(0.6),
        trial(None, {1: 0.9}),
        trial(0.7),
        trial(None, {1: 0.1, 2: 0.3}),
        trial(None, {1: 0.1, 2: 0.2}),
        trial(None, {1: 0.5}, **{ERROR: "it failed"}),
        trial(None),
    ):
        study.optuna.add_trial(given)
    leading = [t.number for t in finalists.leading(study, 9)]
    assert leading == [2, 0, 3, 4, 1]
    assert [t.number for t in finalists.leading(study, 3)] == [2, 0, 3]


def run_off(monkeypatch, values, seeds=2):
    """The finalists of a study with trials of rates 0.1, 0.2, whose runs find these values."""
    study = in_memory(9)
    for number, value in enumerate((0.9, 0.8)):
        settings = f'{{"optim.learning_rate": "0.{number + 1}"}}'
        study.optuna.add_trial(trial(value, **{SETTINGS: settings}))
    asked = []

    def value(study, config, folder):
        asked.append((config.optim.learning_rate, config.seed, folder.name))
        return values[config.optim.learning_rate][config.seed - finalists.FIRST_SEED]

    monkeypatch.setattr(finalists, "value", value)
    found = finalists.run_off(study, configured(TINY), pathlib.Path("x"), 2, seeds)
    return found, asked


def test_a_lucky_trial_does_not_win(monkeypatch):
    found, asked = run_off(monkeypatch, {0.1: [0.6, 0.7], 0.2: [0.75, 0.75]})
    assert [(one.trial, round(one.mean, 9)) for one in found] == [(1, 0.75), (0, 0.65)]
    assert len({folder for _, _, folder in asked}) == len(asked) == 4
    assert {seed for _, seed, _ in asked} == {101, 102}  # neither a trial's nor a final run's


def test_settings_that_fail_with_another_seed_do_not_win(monkeypatch):
    found, _ = run_off(monkeypatch, {0.1: [0.9, None], 0.2: [0.5, 0.5]})
    assert [one.trial for one in found] == [1]
    with pytest.raises(UserError, match="none of the best settings could be trained again"):
        run_off(monkeypatch, {0.1: [None, 0.9], 0.2: [0.5, None]})


def test_what_trials_trained_on_is_counted():
    study = in_memory(9)
    for given in (
        trial(0.6, dict.fromkeys(range(1, 9), 0.5)),  # and its last stretch
        trial(None, {1: 0.5, 2: 0.5}),
        trial(None, {1: 0.5}, **{ERROR: "in the stretch after it"}),
        trial(None, {}, **{ERROR: "in its first"}),
    ):
        study.optuna.add_trial(given)
    assert stretches(study.trials()) == {0: 9, 1: 2, 2: 2, 3: 1}


@pytest.mark.parametrize(("given", "every"), [({}, 2), ({"train.eval_every": 5}, 5)])
def test_a_run_has_nine_validations_unless_its_config_says_when(prepared_dir, given, every):
    config = configured(TINY, {"train.max_steps": 18}, given)
    data = catalog.load("adult", "", str(prepared_dir), "")
    assert tuning.validated(config, data).train.eval_every == every


def test_a_trial_that_is_resumed_counts_once():
    study = in_memory(9)
    study.optuna.add_trial(trial(None, {1: 0.5, 2: 0.5}))
    again = trial(0.6, {3: 0.5})
    again.system_attrs["failed_trial"] = 0  # as Optuna says it
    study.optuna.add_trial(again)
    assert stretches(study.trials()) == {0: 4}


def test_the_budget_is_spent_when_all_its_stretches_are_done():
    study = in_memory(9)
    study.optuna.add_trial(trial(None, {1: 0.5, 2: 0.5}))
    of = lambda count: dataclasses.replace(  # noqa: E731
        study, budget=dataclasses.replace(study.budget, validations=count)
    )
    assert [of(count).spent() for count in (0, 1, 2, 3)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("given", "edge"), [(1e-8, ["optim.table_l2"]), (1e-5, []), (9.9e-4, ["optim.table_l2"])]
)
def test_a_penalty_of_none_is_no_edge(given, edge):
    range_ = optuna.distributions.FloatDistribution(1e-8, 1e-3, log=True)
    params, ranges = {"optim.table_l2": given}, {"optim.table_l2": range_}
    kept = optuna.trial.create_trial(value=0.5, params=params, distributions=ranges)
    assert sweep_report.at_edge(kept) == edge
    none = {SETTINGS: '{"optim.table_l2": "0.0"}'}
    kept = optuna.trial.create_trial(
        value=0.5, params={"optim.table_l2": 1e-8}, distributions=ranges, user_attrs=none
    )
    assert sweep_report.at_edge(kept) == []


def test_an_entry_can_be_tuned_twice():
    twice = dataclasses.replace(TINY, again=("dtn",))
    rows = overall(twice, None, None)
    assert [row.name for row in rows] == ["dtn", "shared_bottom", "dtn, tuned again"]
    first, _, second = (tuning.start(twice, row.tuned_as, {}) for row in rows)
    assert first == second  # but for the seed of its search, which is the name's
