"""`compare` between equal models, by simulation: its size, its intervals, its power."""

import pytest
from null_calibration import COVERED, MOST, POWERFUL, SITUATIONS, null, relative_power

pytestmark = pytest.mark.nightly
every_situation = pytest.mark.parametrize("one", SITUATIONS, ids=lambda one: one.name)


@every_situation
def test_equal_models_are_rarely_told_apart(one):
    counts = null(one)
    judged = {metric: count for metric, count in counts.items() if count.judged}
    assert bool(judged) == (one.groups == 0 or one.groups >= 12)
    for metric, count in judged.items():
        assert count.found / count.judged <= MOST, metric
        assert count.held / count.judged >= COVERED, metric


@every_situation
def test_a_true_difference_is_found_as_often_as_by_a_bootstrap(one):
    for metric, ratio in relative_power(one).items():
        assert ratio >= POWERFUL, metric
