"""After their searches, entries try each other's settings (experiments.tables.transfer)."""

import dataclasses
import json

import pytest
from untrained_tables import TINY, untuned

from dtn_jax.config import load_config, override
from dtn_jax.datasets.preparation.prepared import Prepared
from dtn_jax.errors import UserError
from dtn_jax.parallel.memory import OutOfMemory
from dtn_jax.timetable import Timetable
from experiments.tables import cells, notes, transfer, tunings
from experiments.tables import tuning as tuning_of_tables
from experiments.tables.protocol_files import check

pytest_plugins = ["table_fixtures"]

PROTOCOL = dataclasses.replace(TINY, finalists=2, finalist_seeds=2, transfer=True)
GIVEN = dataclasses.replace(PROTOCOL, given={"elsewhere": {"optim.learning_rate": "0.6"}})
NO_DATA = object.__new__(Prepared)  # nothing is read of it
RATE = "optim.learning_rate"
TIMES = Timetable(90, 30, eval_every=10, checkpoint_every=90, log_every=10)
# {entry: the rate that its search found}; "twin" found what "own" did.
RATES = {"own": 0.1, "twin": 0.1, "a": 0.2, "b": 0.3, "c": 0.4, "d": 0.5}


def tuning(rate, value, objective):
    one = {"trial": 0, "settings": {RATE: str(rate)}, "values": [value, value], "at_edge": []}
    own = {"objective": objective, "value": value, "settings": one["settings"], "at_edge": []}
    return own | {"finalists": [one]}


@pytest.fixture
def trained(monkeypatch):
    """`trained(values)`: what a rate is worth, at each rung; lists the (rate, seed, rung) that
    were trained."""
    monkeypatch.setattr(transfer, "timetable", lambda config, data: TIMES)
    monkeypatch.setattr(cells, "origin", lambda config, data: {})
    done = []

    def given(values):
        def trained_to(config, rung, objective, folder):
            done.append((config.optim.learning_rate, config.seed, rung))
            value = values[config.optim.learning_rate]
            return value[rung] if isinstance(value, dict) else value

        monkeypatch.setattr(transfer, "trained_to", trained_to)
        return done

    return given


@pytest.fixture
def config():
    made = load_config("configs/adult.py")
    override(made, "data.batch_size", "100")
    return made


def transferred(tmp_path, config, value=0.8, objective="mean", best="b", protocol=PROTOCOL):
    lower = value - 0.1 if objective == "mean" else value + 0.1
    tunings = {
        name: tuning(rate, value if name in ("own", best) else lower, objective)
        for name, rate in RATES.items()
    }
    return transfer.transfer(protocol, "own", tunings, config, NO_DATA, tmp_path)


def test_the_best_settings_of_others_win_if_they_are_better(trained, config, tmp_path):
    done = trained({0.2: 0.7, 0.3: 0.9, 0.4: 0.85, 0.5: None})
    found = transferred(tmp_path, config)
    assert (found["settings"], found["value"]) == ({RATE: "0.3"}, 0.9)
    assert found["transfer"]["from"] == "b"
    assert [one["from"] for one in found["finalists"]] == ["b", "c", "own"]
    first = [(rate, 0, 1) for rate in (0.2, 0.3, 0.4, 0.5)]  # not that of its twin
    third, end = [(0.3, 0, 3), (0.4, 0, 3)], [(r, s, 0) for r in (0.3, 0.4) for s in (101, 102)]
    assert done == [*first, *third, *end]
    assert found["transfer"]["examples"] == 100 * (4 * 10 + 2 * 30 + 4 * 90)


def test_what_ended_best_is_tried_to_the_end_even_if_it_starts_slowly(trained, config, tmp_path):
    done = trained({0.2: 0.85, 0.3: 0.84, 0.4: {1: 0.1, 0: 0.9}, 0.5: 0.83})
    found = transferred(tmp_path, config, best="c")
    assert (found["transfer"]["from"], found["value"]) == ("c", 0.9)
    end = [(rate, seed) for rate, seed, rung in done if rung == 0]
    assert end == [(r, s) for r in (0.4, 0.2, 0.3) for s in (101, 102)]


def test_settings_found_elsewhere_are_tried_to_the_end(trained, config, tmp_path):
    done = trained({0.2: 0.7, 0.3: 0.75, 0.4: 0.72, 0.5: 0.71, 0.6: 0.9})
    found = transferred(tmp_path, config, protocol=GIVEN)
    assert (found["settings"], found["value"], found["at_edge"]) == ({RATE: "0.6"}, 0.9, [])
    count = 100 * (4 * 10 + 2 * 30 + (2 + 1) * 2 * 90)
    assert found["transfer"] == {"from": "elsewhere", "examples": count, "given": ["elsewhere"]}
    assert [(seed, rung) for rate, seed, rung in done if rate == 0.6] == [(101, 0), (102, 0)]
    assert transfer.runs(GIVEN) == transfer.runs(PROTOCOL) + 2


def test_a_setting_that_failed_is_not_tried_again(trained, config, tmp_path):
    done = trained({0.2: 0.85, 0.3: 0.84, 0.4: None, 0.5: 0.83})
    transferred(tmp_path, config, best="c")
    assert [(rate, rung) for rate, _, rung in done if rate == 0.4] == [(0.4, 1)]


def test_ones_own_settings_stay_if_they_are_better(trained, config, tmp_path):
    trained(dict.fromkeys((0.2, 0.3, 0.4, 0.5), 0.79))
    found = transferred(tmp_path, config)
    assert (found["settings"], found["transfer"]["from"]) == ({RATE: "0.1"}, "own")


def test_what_fails_does_not_win(trained, config, tmp_path):
    done = trained({key: {1: 0.9, 3: 0.9, 0: None} for key in (0.2, 0.3, 0.4, 0.5)})
    assert transferred(tmp_path, config)["transfer"]["from"] == "own"
    assert done[-1][2] == 0
    trained(dict.fromkeys((0.2, 0.3, 0.4, 0.5)))
    assert transferred(tmp_path / "again", config)["transfer"]["from"] == "own"


def test_a_lower_log_loss_wins(trained, config, tmp_path):
    trained({0.2: 0.7, 0.3: 0.9, 0.4: 0.85, 0.5: 0.95})
    found = transferred(tmp_path, config, objective="income:logloss")
    assert (found["transfer"]["from"], found["value"]) == ("a", 0.7)


def test_the_cost_in_runs():
    assert transfer.runs(PROTOCOL) == 3  # 1/9 and 3/9 of a run, and two of the one that is left
    twelve = dataclasses.replace(PROTOCOL, entries={key: {} for key in "abcdefghijkl"})
    assert transfer.runs(twelve) == 9  # 11/9 + 4 * 3/9 + 3 * 2
    four = dataclasses.replace(PROTOCOL, entries={key: {} for key in "abcd"})
    assert transfer.runs(four) == 5  # 3/9 + 3/9 + 2 * 2: what is left, and what ended best
    assert transfer.runs(TINY) == 0


def test_training_ends_at_the_validation_that_is_asked_for(config, tmp_path, monkeypatch):
    def train(config, folder, after_validation):
        if after_validation:
            for number in (1, 2, 3):
                after_validation(number, {"mean": number / 10})
        if config.seed == 1:
            raise UserError("the loss is not finite")
        if config.seed == 2:
            raise OutOfMemory("too large")
        return {"validation": {"income@all": {"auc": 0.9}, "never_married@all": {"auc": 0.7}}}

    monkeypatch.setattr(transfer, "train_when_free", train)
    assert transfer.trained_to(config, 1, "mean", tmp_path) == 0.1
    assert transfer.trained_to(config, 3, "mean", tmp_path) == 0.3
    assert transfer.trained_to(config, 0, "mean", tmp_path) == pytest.approx(0.8)
    config.seed = 1
    assert transfer.trained_to(config, 0, "mean", tmp_path) is None
    config.seed = 2
    with pytest.raises(OutOfMemory):  # it may do another time, so nothing is recorded
        transfer.trained_to(config, 0, "mean", tmp_path)


def test_a_search_that_failed_is_told_of_all_that_need_it(call, untrained, monkeypatch):
    def fail(protocol, name, *rest):
        if name == "dtn":
            raise UserError("no trial succeeded")
        return untuned(protocol, name, *rest)

    monkeypatch.setattr(tuning_of_tables, "tune", fail)
    with pytest.raises(UserError, match="no trial succeeded") as error:
        call(protocol=PROTOCOL)
    told = (
        "shared_bottom, settings of the others: not tuned: it tries the settings of all, and the "
    )
    assert f"{told}search of dtn failed" in str(error.value)


def test_nothing_is_trained_twice(trained, config, tmp_path):
    values = {0.2: 0.7, 0.3: 0.9, 0.4: 0.85, 0.5: 0.1}
    done = trained(values)
    found = transferred(tmp_path, config)
    count = len(done)
    known = json.loads((tmp_path / transfer.RECORD).read_text())
    known.popitem()  # the last run was cut off
    (tmp_path / transfer.RECORD).write_text(json.dumps(known))
    assert transferred(tmp_path, config) == found
    assert len(done) == count + 1


def test_a_protocol_without_finalists_has_no_transfer():
    check(PROTOCOL)
    for wrong in ({"finalists": 1}, {"trials": 0}, {"again": ("dtn",)}):
        with pytest.raises(UserError, match="transfer: entries try each other's settings where"):
            check(dataclasses.replace(PROTOCOL, **wrong))


def test_settings_from_elsewhere_need_a_transfer_and_a_name_of_their_own():
    check(GIVEN)
    with pytest.raises(UserError, match="tried in the transfer: transfer=True"):
        check(dataclasses.replace(GIVEN, transfer=False))
    with pytest.raises(UserError, match="given: 'dtn' is an entry; name where"):
        check(dataclasses.replace(GIVEN, given={"dtn": {}}))
    with pytest.raises(UserError, match=r"optim\.learning_rat"):
        check(dataclasses.replace(GIVEN, given={"elsewhere": {"optim.learning_rat": "0.1"}}))


def test_the_note_says_who_took_whose_settings():
    one = {"run": 100, "transfer": {"from": "dtn", "examples": 650}}
    less = {"run": 100, "transfer": {"from": "dtn", "examples": 600}}  # one setting fewer to try
    found = {"tuning": {"dtn": one, "mmoe": less, "ple": {}}}
    assert notes.transferred(found) == (
        "; then each tried the best settings of all others as well, for 6.5 runs more "
        "(settings taken from others: mmoe from dtn)"
    )
    assert notes.transferred({"tuning": {"dtn": {}}}) == ""
    one["transfer"] |= {"from": "elsewhere", "given": ["elsewhere"]}
    assert notes.transferred({"tuning": {"dtn": one}}) == (
        "; then each tried the best settings of all others as well, and those given from "
        "elsewhere, for 6.5 runs more (settings taken from others: dtn from elsewhere)"
    )


def test_all_entries_are_searched_though_one_is_asked_for(call, untrained, monkeypatch):
    tried = []

    def tried_by(protocol, name, others, config, data, run):
        tried.append((name, set(others)))
        cost = {"budget": {"examples": 1, "run": 1}, "trials": []}
        return others[name] | cost | {"transfer": {"from": name, "examples": 0}}

    monkeypatch.setattr(tunings, "transfer", tried_by)
    call("--entries=dtn", protocol=PROTOCOL)
    assert tried == [("dtn", {"dtn", "shared_bottom"})]
    call(protocol=PROTOCOL)
    assert [name for name, _ in tried] == ["dtn", "shared_bottom"]
    call("--entries=dtn", protocol=GIVEN)  # other settings to try: its transfer is another
    monkeypatch.setattr(tunings, "FEW", 2)  # and so it is by another rule
    call("--entries=dtn", protocol=PROTOCOL)
    assert [name for name, _ in tried] == ["dtn", "shared_bottom", "dtn", "dtn"]


@pytest.mark.slow
def test_a_table_of_entries_that_try_each_others_settings(call, monkeypatch):
    made = call(protocol=PROTOCOL)
    kept = made["tuning"]
    assert set(kept) == {"dtn", "shared_bottom"}
    for row in made["rows"]:
        assert row["config"].items() >= kept[row["name"]]["settings"].items()
    assert len({one["transfer"]["examples"] for one in kept.values()}) == 1
    assert made["missing"] == {}
    monkeypatch.setattr(transfer, "trained_to", lambda *_: pytest.fail("trained again"))
    assert call(protocol=PROTOCOL)["rows"] == made["rows"]
