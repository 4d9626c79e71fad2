"""After their searches, entries try each other's settings (experiments.tables.transfer)."""

import dataclasses
import json

import pytest
from untrained_tables import TINY

from dtn_jax.config import load_config, override
from dtn_jax.datasets.preparation.prepared import Prepared
from dtn_jax.errors import UserError
from dtn_jax.timetable import Timetable
from experiments.tables import cells, notes, transfer
from experiments.tables.protocol_files import check

pytest_plugins = ["table_fixtures"]

PROTOCOL = dataclasses.replace(TINY, finalists=2, finalist_seeds=2, transfer=True)
NO_DATA = object.__new__(Prepared)  # nothing is read of it
RATE = "optim.learning_rate"
TIMES = Timetable(90, 30, eval_every=10, checkpoint_every=90, log_every=10)
# {entry: the rate that its search found}; "twin" found what "own" did.
RATES = {"own": 0.1, "twin": 0.1, "a": 0.2, "b": 0.3, "c": 0.4, "d": 0.5}


def tuning(rate, value):
    one = {"trial": 0, "settings": {RATE: str(rate)}, "values": [value, value], "at_edge": []}
    return {"objective": "mean", "settings": one["settings"], "at_edge": [], "finalists": [one]}


@pytest.fixture
def trained(monkeypatch):
    """`trained(values)`: what a rate is worth; lists the (rate, seed, rung) that were trained."""
    monkeypatch.setattr(transfer, "timetable", lambda config, data: TIMES)
    monkeypatch.setattr(cells, "origin", lambda config, data: {})
    done = []

    def given(values):
        def trained_to(config, rung, objective, folder):
            done.append((config.optim.learning_rate, config.seed, rung))
            return values[config.optim.learning_rate]

        monkeypatch.setattr(transfer, "trained_to", trained_to)
        return done

    return given


@pytest.fixture
def config():
    made = load_config("configs/adult.py")
    override(made, "data.batch_size", "100")
    return made


def transferred(tmp_path, config, value=0.8):
    tunings = {name: tuning(rate, value) for name, rate in RATES.items()}
    return transfer.transfer(PROTOCOL, "own", tunings, config, NO_DATA, tmp_path)


def test_the_best_settings_of_others_win_if_they_are_better(trained, config, tmp_path):
    done = trained({0.2: 0.7, 0.3: 0.9, 0.4: 0.85, 0.5: None})
    found = transferred(tmp_path, config)
    assert (found["settings"], found["value"]) == ({RATE: "0.3"}, 0.9)
    assert found["transfer"]["from"] == "b"
    assert [one["from"] for one in found["finalists"]] == ["b", "own"]
    first = [(rate, 0, 1) for rate in (0.2, 0.3, 0.4, 0.5)]  # not that of its twin
    assert done == [*first, (0.3, 0, 3), (0.4, 0, 3), (0.3, 101, 0), (0.3, 102, 0)]
    assert found["transfer"]["examples"] == 100 * (4 * 10 + 2 * 30 + 2 * 90)


def test_ones_own_settings_stay_if_they_are_better(trained, config, tmp_path):
    trained(dict.fromkeys((0.2, 0.3, 0.4, 0.5), 0.79))
    found = transferred(tmp_path, config)
    assert (found["settings"], found["transfer"]["from"]) == ({RATE: "0.1"}, "own")


def test_what_failed_to_the_end_does_not_win(trained, config, tmp_path):
    trained(dict.fromkeys((0.2, 0.3, 0.4, 0.5)))
    assert transferred(tmp_path, config)["transfer"]["from"] == "own"


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


def test_the_note_says_who_took_whose_settings():
    one = {"run": 100, "transfer": {"from": "dtn", "examples": 650}}
    found = {"tuning": {"dtn": one, "mmoe": one, "ple": {}}}
    assert notes.transferred(found) == (
        "; then each tried the best settings of all others as well, for 6.5 runs more (now with "
        "another's: mmoe dtn's)"
    )
    assert notes.transferred({"tuning": {"dtn": {}}}) == ""


@pytest.mark.slow
def test_a_table_of_entries_that_try_each_others_settings(call, monkeypatch):
    made = call(protocol=PROTOCOL)
    kept = made["tuning"]
    assert {name: one["transfer"]["from"] in kept for name, one in kept.items()} == {
        "dtn": True,
        "shared_bottom": True,
    }
    assert len({one["transfer"]["examples"] for one in kept.values()}) == 1
    assert made["missing"] == {}
    monkeypatch.setattr(transfer, "trained_to", lambda *_: pytest.fail("trained again"))
    assert call(protocol=PROTOCOL)["rows"] == made["rows"]
