"""The sentence on when ours is ahead: what the intervals support, and no more."""

import pytest

from dtn_jax.metrics.significance import Comparison
from experiments.tables.pays import NOT, PAYS, UNCLEAR, Gain, judged, over_all, sentence

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
    told = sentence(found, "dtn", "mmoe")
    assert told.startswith("From divergence 1 (true: 0.10) on, dtn is ahead of mmoe: by +2.00 [")
    assert "and by +3.00 [+2.00, +4.00] at 2." in told
    assert "no gain is sure: +0.10 [−0.50, +0.70] at 0" in told


def test_it_does_not_pay_where_all_intervals_end_below_what_is_worth_it():
    found = gains((-0.5, 0.7), (-2, -1), (-0.1, 0.9))
    assert judged(found)[0] == NOT
    told = sentence(found, "dtn", "mmoe")
    assert "At no divergence dtn gains on mmoe as much as 1:" in told
    assert "the most that an interval allows is +0.90, at divergence 2" in told
    assert told.endswith("It is behind at 1.")


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        (  # no gain is shown, but one may be there
            [(-0.5, 0.7), (-0.5, 1.1), (-0.5, 0.7)],
            "At divergence 0, 2 dtn does not gain as much as 1 on mmoe: +0.10 [−0.50, +0.70] at 0, "
            "+0.10 [−0.50, +0.70] at 2. At 1 it is unclear: +0.30 [−0.50, +1.10] at 1.",
        ),
        (  # ahead in the middle alone
            [(-0.5, 1.7), (1, 3), (-0.1, 1.9)],
            "It is unclear whether dtn gains on mmoe, and from where on: "
            "+0.60 [−0.50, +1.70] at 0, +0.90 [−0.10, +1.90] at 2. It is surely ahead at 1.",
        ),
        (
            [(1, 3), (1, 3), (-3, -1)],
            "At divergence 2 dtn does not gain as much as 1 on mmoe: −2.00 [−3.00, −1.00] at 2. "
            "It is surely ahead at 0, 1. It is behind at 2.",
        ),
    ],
)
def test_all_else_is_unclear(ends, told):
    assert judged(gains(*ends))[0] == UNCLEAR
    assert sentence(gains(*ends), "dtn", "mmoe") == told


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
