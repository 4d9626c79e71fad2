"""What stands beside the sentences of the table `divergence`: intervals, t-tests, other metrics."""

import copy

import pytest
from levels_of_a_dial import SHARED, found

from dtn_jax.metrics.significance import holm
from experiments.tables import gap_text
from experiments.tables.markdown import markdown
from experiments.tables.text import texts


@pytest.fixture(scope="module")
def made():
    """DTN stays where it is, MMoE falls behind twice as fast as the others."""
    fast = {"dtn": 0, "mmoe": 0.008}
    return found(lambda model, at: 0.02 + fast.get(model, 0.004) * at)


def starting(made, title):
    (text,) = [text for text in texts(made) if text.title.startswith(title)]
    return text


def test_the_gains_stand_beside_the_sentences(made):
    gains = gap_text.gains(made)
    own, published, _ = gains.rows
    assert gains.header == ("", "0 (0.00)", "0.5 (0.40)", "1 (0.80)")
    assert own[0] == f"`{SHARED}`"
    assert own[1].endswith("0.00 [−0.02, +0.02], p = 1.000")
    ps = {gain["at"]: gain["p"] for gain in list(made["gains"].values())[1]}
    shown = [float(cell.split()[-1]) for cell in published[1:]]
    assert shown == [pytest.approx(p, abs=5e-4) for p in holm(ps).values()]
    assert own[3].startswith("+4.00 [+3.9")
    assert published[3].startswith("+4.00 [+")  # over PLE, the best there
    assert "widened for their number" in gains.note
    assert f"| {' | '.join(own)} |" in markdown(made)


def test_the_strongest_rival_of_each_level_has_a_t_test(made):
    duels = starting(made, "dtn less its strongest rival")
    assert [row[:2] for row in duels.rows[1:]] == [("0.5", "`ple`"), ("1", "`ple`")]
    assert duels.rows[2][2] == "+4.00"
    assert "Welch's" in duels.note


def test_a_table_of_before_has_no_t_tests(made):
    made = copy.deepcopy(made)
    for row in made["rows"]:
        row["comparison"].get("mean of tasks", {}).pop("t", None)
    assert not [t for t in texts(made) if t.title.startswith("dtn less its strongest")]


def test_small_differences_have_a_sign_that_is_explained(made):
    less = starting(made, "AUC less ours, mean of tasks, by divergence")
    assert less.rows[1][1].startswith("≈ ")
    assert not less.rows[1][3].startswith("≈")
    assert "twice the seeds' standard deviation" in less.note


def test_other_metrics_are_of_the_tested_tasks(made):
    made = copy.deepcopy(made)
    for row in made["rows"]:
        for i, key in enumerate(made["tested_keys"]):
            row["metrics"][key]["logloss"] = [0.1 * i, 0.1 * i, 0.1 * i + 0.03]
            row["metrics"][key]["predicted_observed"] = [0.8 + 0.2 * i] * 3
    text = starting(made, "log loss, mean of tasks, by divergence")
    assert text.rows[0][1] == "0.1100 ± 0.0173"
    for key, shown in (("click@all", "0.8"), ("cart@all", "1.0"), ("order@all", "1.2")):
        text = starting(made, f"predicted/observed, {key}, by divergence")
        assert text.rows[0][1].startswith(shown)
    del made["rows"][0]["metrics"]["cart@all"]["logloss"]
    assert not [t for t in texts(made) if t.title.startswith("log loss")]
