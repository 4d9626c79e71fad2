"""How well an early validation tells the end of a run."""

import dataclasses
import json

import numpy as np
import pytest
from untrained_tables import TINY

from dtn_jax.errors import UserError
from experiments.tables import proxy


def kept(values, objective="mean"):
    """What is kept of runs with these values at their validations; the last is the run's."""
    trials = [
        {"state": "complete", "validations": dict(enumerate(own[:-1], 1)), "value": own[-1]}
        for own in values
    ]
    failed = {"state": "failed", "validations": {}, "value": None}
    return {"objective": objective, "trials": [*trials, failed]}


def test_the_correlation_is_of_ranks():
    end = np.linspace(0.5, 0.9, 12)
    values = np.stack([end**3, -end, np.ones(12), end], axis=1)
    rho, low, high = proxy.correlations(values)
    assert rho[[0, 1, 3]] == pytest.approx([1, -1, 1])
    assert np.isnan(rho[2])  # nothing to rank
    assert (low[0], high[0]) == pytest.approx((1, 1))


def test_its_interval_holds_what_it_is_of():
    rng = np.random.default_rng(3)
    end = rng.normal(size=40)
    values = np.stack([end + rng.normal(size=40), end], axis=1)
    rho, low, high = proxy.correlations(values)
    assert low[0] < rho[0] < high[0]
    assert 0.1 < high[0] - low[0] < 0.9


def test_halving_keeps_the_best_third_twice():
    values = np.zeros((9, 9))
    values[:, 0] = np.arange(9)  # at the first validation 6, 7, 8 are ahead
    values[:, 2] = [9, 9, 9, 9, 9, 9, 3, 1, 2]  # at the third, of those, 6
    values[:, -1] = [0.9, 0.8, 0, 0, 0, 0, 0.7, 0, 0]
    left, short = proxy.halved(values)
    assert left.tolist() == [6]
    assert short == pytest.approx(0.2)


def test_a_lower_log_loss_is_better_and_failed_runs_are_left_out():
    found = kept([(0.5, 0.3), (0.4, 0.2)], "mean:logloss")
    assert proxy.curves(found).tolist() == [[-0.5, -0.3], [-0.4, -0.2]]


def test_a_run_that_stopped_early_keeps_its_last_validation():
    found = kept([(0.5, 0.6, 0.7, 0.7), (0.4, 0.3, 0.4)])
    assert proxy.curves(found).tolist() == [[0.5, 0.6, 0.7, 0.7], [0.4, 0.3, 0.3, 0.4]]


def test_the_better_half_is_judged_alone():
    end = 0.1 * np.arange(8)
    early = np.array([0, 1, 2, 3, 7, 6, 5, 4])  # worst among those that end best
    values = np.stack([early, early, early, end, end, end, end, end, end], axis=1)
    page = proxy.page({"dtn": kept(values)}, "adult")
    (line,) = [line for line in page.splitlines() if "dtn" in line]
    _, _, runs, *correlations, _, _, _ = (cell.strip() for cell in line.split("|"))
    assert runs == "8"
    whole, _, half, _ = (float(cell.split()[0].replace("−", "-")) for cell in correlations)
    assert whole == pytest.approx(0.76, abs=0.01)
    assert half == -1
    few = proxy.page({"dtn": kept(values[:2])}, "adult")
    assert "|  |  |" in few  # of one setting there is none


def test_the_picture_ranks_the_best_first():
    end = np.array([0.7, 0.9, 0.8])
    drawn = proxy.picture({"dtn": kept(np.stack([end] * 9, axis=1))}, "adult")
    for axes in drawn.axes[1:]:
        (points,) = axes.lines
        assert points.get_ydata().tolist() == points.get_xdata().tolist() == [3, 1, 2]


def test_the_command_trains_all_to_the_end_and_resumes(prepared_dir, tmp_path, monkeypatch, capsys):
    runs = []
    values = np.random.default_rng(0).uniform(0.6, 0.9, (5, 9))

    def train_all(work, entry, count):
        runs.append((entry, count, work.data.schema.name))
        return kept(values)

    tiny = dataclasses.replace(TINY, common=TINY.common | {"train.max_steps": 9})
    monkeypatch.setattr(proxy, "load", lambda path: tiny)
    monkeypatch.setattr(proxy, "train_all", train_all)
    given = ["--dataset=adult", f"--workdir={tmp_path}", f"--data_dir={prepared_dir}"]
    given += ["--entries=dtn,shared_bottom", "--draws=5"]
    proxy.main(given)
    assert runs == [("dtn", 5, "adult"), ("shared_bottom", 5, "adult")]
    proxy.main(given)
    assert len(runs) == 2
    page = (tmp_path / "adult" / "proxy.md").read_text()
    assert page in capsys.readouterr().out
    assert "| dtn | 5 | " in page
    assert (tmp_path / "adult" / "proxy.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "adult" / "proxy.json").read_text()).keys() >= {"dtn"}


def test_an_unknown_entry_is_told(tmp_path):
    with pytest.raises(UserError, match="unknown entry 'dtm'"):
        proxy.main(["--dataset=adult", "--entries=dtm", f"--workdir={tmp_path}"])


@pytest.mark.slow
def test_random_settings_are_trained_to_the_end(prepared_dir, tmp_path, monkeypatch):
    tiny = dataclasses.replace(TINY, common=TINY.common | {"train.max_steps": 3})
    monkeypatch.setattr(proxy, "load", lambda path: tiny)
    given = ["--dataset=adult", f"--workdir={tmp_path}", f"--data_dir={prepared_dir}"]
    proxy.main([*given, "--entries=shared_bottom", "--draws=3"])
    found = json.loads((tmp_path / "adult" / "proxy.json").read_text())["shared_bottom"]
    assert proxy.curves(found).shape == (3, 3)
    assert {t["state"] for t in found["trials"]} == {"complete"}
