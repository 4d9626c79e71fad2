"""The divergence measured on trained models, beside the true one."""

import dataclasses

import pytest
from untrained_tables import TINY, untuned

from dtn_jax.errors import UserError
from experiments import measured_divergence
from experiments.tables import finished, kept, measured, tuning
from experiments.tables.measured import pairs
from experiments.tables.measured_text import markdown, picture, told

pytest_plugins = ["table_fixtures"]
KEYS = ["click@all", "cart@all", "cart@click"]


def one(model, truth):
    """What is kept of a run whose model has these divergences of click and cart, by space."""

    def between(by_space):
        return [[0, *by_space], [by_space[0], 0, 9], [by_space[1], 9, 0]]

    return {
        "model": {"keys": KEYS, "value": between(model), "itself": [0.1, 0.3, 0.5]},
        "truth": truth and {"keys": KEYS, "value": between(truth), "itself": [0, 0, 0]},
        "upstream": {"click": [], "cart": ["click"]},
    }


def test_pairs_are_of_the_spaces_of_the_losses_or_of_the_stages():
    runs = [one((0.3, 0.6), (0.2, 0.5)), one((0.5, 0.8), (0.2, 0.5))]
    (tasks, own), *rest = pairs(runs, "loss").items()
    assert (tasks, rest) == ("click@all, cart@all", [])
    assert own == {"truth": 0.2, "measured": [0.3, 0.5], "noise": pytest.approx(0.2)}
    own = pairs(runs, "stage")["click@all, cart@click"]
    assert own == {"truth": 0.5, "measured": [0.6, 0.8], "noise": pytest.approx(0.3)}


def test_tasks_that_are_not_of_a_funnel_have_no_stages():
    flat = one((0.3, 0.6), None) | {"upstream": {"click": [], "cart": []}}
    assert pairs([flat], "stage") == {}
    assert pairs([flat], "loss")["click@all, cart@all"]["truth"] is None


def point(truth, seeds, **other):
    made = {"set": "divergence", "at": "0.5", "kind": "loss", "tasks": "click@all, cart@all"}
    return made | {"truth": truth, "measured": seeds, "noise": 0.1} | other


def test_what_is_told():
    points = [
        point(0.2, [0.3, 0.5]),
        point(0.8, [0.8]),
        point(0.1, [0.9], kind="stage", tasks="click@all, cart@click"),
        point(0.2, [0.3, 0.5], kind="stage"),  # that of the loss again
        point(None, [0.7], set="adult", at=""),
    ]
    page = markdown(points, "x.png")
    own = "| `divergence`, 0.5 | click@all, cart@all | 0.20 | 0.40 ± 0.14 | 0.10 |"
    assert page.count(own) == 1
    assert "| `divergence`, 0.5 | click@all, cart@click | 0.10 | 0.90 | 0.10 |" in page
    assert "| `adult` | click@all, cart@all |  | 0.70 | 0.10 |" in page
    _, loss, stage = told(points)
    assert "is off by 0.10 on average (+0.10 with its sign), and by +0.20 at most" in loss
    assert "off by 0.80 on average (+0.80 with its sign), and by +0.80 at most" in stage
    loss, stage, alone = picture(points).axes
    assert [list(line.get_xdata()) for line in loss.lines if line.get_linestyle() == "--"] == [
        [0, 0.8]
    ]
    assert stage.get_title(loc="left") == "each task where the one before was"
    assert [label.get_text() for label in alone.get_yticklabels()] == ["adult: click, cart"]
    places = {line.get_marker(): line.get_xdata().tolist() for line in alone.lines}
    assert places["o"] == [0.7]
    assert alone.lines[-1].get_xdata().tolist() == [0.1]  # noise alone
    assert len(told([point(None, [0.7])])) == 1
    assert "(−0.10 with its sign), and by −0.10 at most" in told([point(0.3, [0.2])])[1]
    assert "(+0.00 with its sign), and by +0.00 at most" in told([point(0.3, [0.299])])[1]


@pytest.mark.slow
def test_a_run_is_measured_once(call, prepared_dir, tmp_path, monkeypatch, drawn):
    monkeypatch.setattr(tuning, "tune", untuned)
    call("--seeds=1", "--entries=dtn")
    monkeypatch.setattr(finished, "load", lambda path: TINY)
    arguments = ["--datasets=adult", f"--workdir={tmp_path}", f"--data_dir={prepared_dir}"]
    few = dataclasses.replace(measured.HOW, rows=2000, repeats=1)
    monkeypatch.setattr(measured, "HOW", few)
    measured_divergence.main(arguments)
    first = kept.read_json(tmp_path / "measured_divergence.json")
    (own,) = first["points"]
    assert own["tasks"] == "income@all, never_married@all"
    assert len(own["measured"]) == 1
    assert 0 < own["noise"] < own["measured"][0] < 2
    assert (tmp_path / "measured_divergence.png").stat().st_size > 500
    monkeypatch.setattr(measured, "measure", None)
    measured_divergence.main(arguments)
    assert kept.read_json(tmp_path / "measured_divergence.json") == first


def test_without_a_finished_run_it_says_so(tmp_path, prepared_dir, monkeypatch):
    monkeypatch.setattr(finished, "load", lambda path: TINY)
    with pytest.raises(UserError, match="no finished run to measure"):
        measured_divergence.main(
            ["--datasets=adult", f"--workdir={tmp_path}", f"--data_dir={prepared_dir}"]
        )
