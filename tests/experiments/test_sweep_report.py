"""What a sweep shows: its table, its pictures, winners at the edge of a range."""

import io

import optuna
import pytest
import rich.console
from studies_in_memory import in_memory

from dtn_jax.report import screen
from experiments.search import studies, sweep_report
from experiments.search.budget import Budget


def test_trials_that_suggest_nothing_have_no_pictures_of_it(tmp_path):
    study = optuna.create_study(direction="maximize")
    study.optimize(lambda trial: 0.5, n_trials=2)
    budget = Budget(2, "tpe", "none", 0, {})
    sweep_report.draw(tmp_path, "dtn", studies.Study("dtn", study, "mean", budget, study._storage))
    assert [p.name for p in tmp_path.iterdir()] == ["dtn_history.png"]


@pytest.mark.filterwarnings("ignore:Choices for a categorical")
def test_choices_that_are_lists_cost_no_picture_and_no_winner(tmp_path):
    """A storage gives tuples back as lists."""
    study = optuna.create_study(direction="maximize")
    study.optimize(
        lambda trial: len(trial.suggest_categorical("h", [[64], [128, 64]])) / 3, n_trials=9
    )
    budget = Budget(9, "tpe", "none", 0, {})
    sweep_report.draw(tmp_path, "dtn", studies.Study("dtn", study, "mean", budget, study._storage))
    assert (tmp_path / "dtn_history.png").exists()


def test_a_hyper_parameter_that_does_all_is_the_most_important(tmp_path, monkeypatch):
    """Of few trials too, as those of a grid; of fewer nothing is drawn."""
    drawn = {}

    def readable(figure, title, names):
        drawn[title] = figure.axes[0]
        return plain(figure, title, names)

    plain = sweep_report.readable
    monkeypatch.setattr(sweep_report, "readable", readable)
    points = {"a": [0.001, 0.003], "b": [0.0, 0.2]}
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.GridSampler(points, seed=0)
    )

    def objective(trial):
        a, b = (trial.suggest_categorical(name, points[name]) for name in points)
        return 0.88 + 10 * a + 0.01 * b

    study.optimize(objective, n_trials=3)
    made = studies.Study("dtn", study, "mean", Budget(4, "tpe", "none", 0, {}), study._storage)
    sweep_report.draw(tmp_path, "dtn", made)
    assert not (tmp_path / "dtn_importance.png").exists()
    study.optimize(objective, n_trials=1)
    drawn.clear()
    sweep_report.draw(tmp_path, "dtn", made)
    (axes,) = drawn.values()  # of one title, the last picture's
    shares = {t.get_text(): p.get_width() for t, p in zip(axes.get_yticklabels(), axes.patches)}
    assert shares["a"] > 0.7


def test_kinds_of_ends():
    study = in_memory(9)
    study.run_one(lambda trial: study.claim(trial, {"seed": "1"}) + 0.5)
    study.claim(study.optuna.ask(), {"seed": "2"})
    study.alone()  # it died, and waits
    assert sweep_report.counted(study.trials()) == {"complete": 1, "retried": 1, "waiting": 1}
    assert sweep_report.summary(study)["trials"][1]["state"] == "retried"


@pytest.mark.parametrize("terminal", [True, False])
def test_the_table_is_shown_in_place_in_a_terminal(terminal, monkeypatch):
    console = rich.console.Console(file=io.StringIO(), force_terminal=terminal, width=100)
    monkeypatch.setattr(screen, "console", lambda: console)
    study = in_memory(2)
    with sweep_report.live(study) as show:
        for number in range(2):
            study.run_one(lambda trial, n=number: 0 * study.claim(trial, {"seed": str(n)}) + 0.5)
            show()
    shown = console.file.getvalue()
    assert "seed=1" in shown
    assert "of 2 trials: 2 complete" in shown
    erases = "\x1b[2K"  # a line, to write it anew
    assert (erases in shown) == terminal


def test_until_a_trial_is_complete_there_is_no_frame():
    console = rich.console.Console(file=io.StringIO(), width=100)
    study = in_memory(2)
    console.print(sweep_report.table(study))
    study.claim(study.optuna.ask(), {"seed": "1"})
    console.print(sweep_report.table(study))
    before, after = console.file.getvalue().splitlines()
    assert before.endswith("of 2 trials: none yet")
    assert after.endswith("of 2 trials: 1 running")


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"rate": 9.9e-3, "dropout": 0.25}, ["rate"]),
        ({"rate": 3.1e-4, "dropout": 0.01}, ["rate"]),  # no dropout is below 0
        ({"rate": 2e-3, "dropout": 0.49}, ["dropout"]),
        ({"rate": 2e-3, "dropout": 0.25}, []),
    ],
)
def test_winners_at_the_edge_of_a_range_are_told(params, expected):
    ranges = {
        "rate": optuna.distributions.FloatDistribution(3e-4, 1e-2, log=True),
        "dropout": optuna.distributions.FloatDistribution(0.0, 0.5),
    }
    trial = optuna.trial.create_trial(params=params, distributions=ranges, value=0.5)
    assert sweep_report.at_edge(trial) == expected
