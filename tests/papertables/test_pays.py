"""When ours is ahead: what the intervals support, and no more."""

import pytest

from dtn_jax.metrics.significance import Comparison
from dtn_jax.papertables.pays import NOT, PAYS, UNCLEAR, Gain, judged, over_all

SURE = 0.001


def gains(*ends, p=SURE):
    """Levels 0, 1, … with these intervals, in thousandths, and their middles."""
    return [
        Gain(str(at), at / 10, (low + high) / 2000, low / 1000, high / 1000, p)
        for at, (low, high) in enumerate(ends)
    ]


def test_it_pays_from_the_first_level_above_which_all_are_sure():
    found = gains((-0.5, 0.7), (1, 3), (2, 4))
    verdict, ahead, behind = judged(found)
    assert (verdict, [g.at for g in ahead], behind) == (PAYS, ["1", "2"], [])


def test_it_does_not_pay_where_all_intervals_end_below_what_is_worth_it():
    found = gains((-0.5, 0.7), (-2, -1), (-0.1, 0.9))
    assert judged(found)[0] == NOT


@pytest.mark.parametrize(
    "ends",
    [
        [(-0.5, 0.7), (-0.5, 1.1), (-0.5, 0.7)],  # no gain is shown, but one may be there
        [(-0.5, 1.7), (1, 3), (-0.1, 1.9)],  # ahead in the middle alone
        [(1, 3), (1, 3), (-3, -1)],
    ],
)
def test_all_else_is_unclear(ends):
    assert judged(gains(*ends))[0] == UNCLEAR


def test_levels_are_corrected_for_together():
    ends = (1, 3), (1, 3), (1, 3)
    assert judged(gains(*ends, p=0.016))[0] == PAYS
    assert judged(gains(*ends, p=0.03))[0] == UNCLEAR


def comparison(difference, p):
    return Comparison(difference, difference - 0.001, difference + 0.001, p, 0.001)


def test_ahead_of_the_best_is_ahead_of_each():
    """So p is the largest, without correction; the lower end is the lowest."""
    rivals = {"mmoe": comparison(-0.002, 0.01), "ple": comparison(-0.003, 0.04)}
    gain = over_all("1", 0.5, rivals)
    assert (gain.rival, gain.p) == ("mmoe", 0.04)
    assert (gain.value, gain.low) == pytest.approx((0.002, 0.001))
    assert gain.high == pytest.approx(0.002 + 0.001 * 2.2414 / 1.9600, abs=1e-6)


def test_behind_the_best_is_corrected_for_the_choice():
    rivals = {"mmoe": comparison(0.002, 0.02), "ple": comparison(-0.003, 0.001)}
    gain = over_all("1", 0.5, rivals)
    assert (gain.rival, gain.p) == ("mmoe", 0.04)
    assert gain.value == -0.002
    assert over_all("1", 0.5, {"mmoe": comparison(0.002, 0.02)}).rival == ""
