"""The tuning of a table's entries: equal budgets, other starts, finalists over seeds."""

import dataclasses

import optuna
import pytest
from invented_runs import TINY

from dtn_jax.data.sets import catalog
from dtn_jax.errors import UserError
from dtn_jax.papertables import tune
from dtn_jax.papertables.entries import overall
from dtn_jax.papertables.protocol import configured
from dtn_jax.search.studies import url_of_file

pytest_plugins = ["table_fixtures"]


ROOMY = dataclasses.replace(
    TINY,
    common=TINY.common | {"train.max_steps": 9, "train.eval_every": 1},
    trials=2,
    finalists=2,
    finalist_seeds=2,
)


@pytest.fixture(scope="module")
def tuned(prepared_dir, tmp_path_factory):
    """{entry: what is kept of its tuning}, of two entries in nine steps."""
    found = {}
    for name in ROOMY.entries:
        places = {"data.data_dir": str(prepared_dir)}
        config = configured(ROOMY, ROOMY.settings(name), {"seed": 0}, places)
        data = catalog.load("adult", "", str(prepared_dir), "")
        folder = tmp_path_factory.mktemp(name)
        made = tune.tune(ROOMY, name, config, data, folder, {})
        study = optuna.load_study(study_name=name, storage=url_of_file(folder / "sweep.db"))
        found[name] = made, [t for t in study.trials if t.state.is_finished()]
    return found


@pytest.mark.nightly
def test_entries_spend_the_same_number_of_examples(tuned):
    spent = {made["examples"] for made, _ in tuned.values()}
    (run,) = {made["run"] for made, _ in tuned.values()}
    assert spent == {ROOMY.trials * run}


@pytest.mark.nightly
def test_entries_begin_with_other_settings(tuned):
    dtn, other = (trials[0].params for _, trials in tuned.values())
    assert dtn.keys() == other.keys()
    assert dtn != other


@pytest.mark.nightly
def test_the_winner_is_the_best_finalist(tuned):
    for made, _ in tuned.values():
        assert [len(values) for values in made["finalists"]] == [2, 2]
        assert sum(made["finalists"][0]) >= sum(made["finalists"][1])


@pytest.mark.parametrize(("given", "every"), [({}, 2), ({"train.eval_every": 5}, 5)])
def test_a_run_has_nine_validations_unless_its_config_says_when(prepared_dir, given, every):
    config = configured(TINY, {"train.max_steps": 18}, given)
    data = catalog.load("adult", "", str(prepared_dir), "")
    assert tune.validated(config, data).train.eval_every == every


def test_an_entry_can_be_tuned_twice():
    twice = dataclasses.replace(TINY, again=("dtn",))
    rows = overall(twice, None, None)
    assert [row.name for row in rows] == ["dtn", "shared_bottom", "dtn, tuned again"]
    assert twice.settings("dtn, tuned again") == twice.settings("dtn")  # seeds go by the name


OTHERS = {  # which compile fast
    name: TINY.entries["shared_bottom"] | {"model.mlp.hidden": (width,)}
    for name, width in (("plain", 8), ("wide", 12))
}
PROTOCOL = dataclasses.replace(
    TINY, entries=OTHERS, ours="plain", finalists=2, finalist_seeds=2, transfer=True
)


@pytest.mark.nightly
def test_a_table_of_entries_that_try_each_others_settings(call, monkeypatch):
    made = call(protocol=PROTOCOL)
    kept = made["tuning"]
    assert set(kept) == {"plain", "wide"}
    for row in made["rows"]:
        assert row["config"].items() >= kept[row["name"]]["settings"].items()
    assert {one["transfer"]["from"] for one in kept.values()} <= {"plain", "wide"}
    assert {one["transfer"]["examples"] / one["run"] for one in kept.values()} == {6}
    assert made["missing"] == {}
    monkeypatch.setattr(tune, "tune", lambda *_: pytest.fail("tuned again"))
    assert call(protocol=PROTOCOL)["rows"] == made["rows"]


def test_a_transfer_without_all_searches_is_reported(call, monkeypatch):
    def search(protocol, name, *_):
        raise UserError(f"no search of {name}")

    monkeypatch.setattr(tune, "tune", search)
    with pytest.raises(UserError, match="plain: it tries the settings of all, and a search failed"):
        call(protocol=PROTOCOL)
