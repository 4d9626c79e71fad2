"""Whether and from where on ours is ahead, in a sentence that the intervals support.

`judged` decides from the levels of a dial, in the order of its values:

- pays: at a level and at all levels above it, ours is ahead: its 95 % interval lies above 0 and
  p < 0.05 after Holm's correction over the levels.
- does not: at no level is it ahead, and all intervals end below WORTH. That no difference is shown
  is not enough.
- unclear: all else. Levels whose interval ends below WORTH are then told apart from the others.

Against the best of several rivals, ours is ahead where it is ahead of each, so that p is the
largest of theirs: an intersection-union test (R. L. Berger, Multiparameter hypothesis testing and
acceptance sampling, Technometrics 24, 1982), which needs no correction for their number. What says
that ours is behind, or how far it may be ahead at most, has Bonferroni's, since the best rival was
chosen by the same runs.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence

from dtn_jax.metrics.significance import Comparison, holm
from dtn_jax.papertables.numbers import LEVEL

WORTH = 0.001  # AUC: a gain that surely is smaller is none
SIDE = 0.025  # the chance that a 95 % interval ends too early on one side
PAYS, NOT, UNCLEAR = "pays", "does not", "unclear"


@dataclasses.dataclass(frozen=True)
class Gain:
    """How far ours is ahead at a level of a dial.

    Attributes:
      at: the dial's value.
      truth: the tasks' true divergence there.
      value, low, high: of AUC, with its interval.
      p: two-sided, of no difference.
      rival: the best one there, of several.
    """

    at: str
    truth: float
    value: float
    low: float
    high: float
    p: float
    rival: str = ""


def over_all(at: str, truth: float, less_ours: dict[str, Comparison]) -> Gain:
    """The gain over the best of the rivals.

    Args:
      at, truth: of the level.
      less_ours: {rival: its AUC less ours}.
    """
    best = max(less_ours, key=lambda name: less_ours[name].difference)
    own, every = less_ours[best], less_ours.values()
    ahead = all(one.difference < 0 for one in every)
    normal = statistics.NormalDist().inv_cdf
    wider = normal(1 - SIDE / len(less_ours)) / normal(1 - SIDE)
    return Gain(
        at,
        truth,
        -own.difference,
        -max(one.high for one in every),
        -own.difference + wider * (own.difference - own.low),
        max(one.p for one in every) if ahead else min(1.0, own.p * len(less_ours)),
        best if len(less_ours) > 1 else "",
    )


def judged(gains: Sequence[Gain]) -> tuple[str, list[Gain], list[Gain]]:
    """PAYS, NOT or UNCLEAR; the levels at which ours is ahead, and at which it is behind."""
    adjusted = holm({gain.at: gain.p for gain in gains})
    sure = [gain for gain in gains if adjusted[gain.at] < LEVEL]
    ahead, behind = [g for g in sure if g.low > 0], [g for g in sure if g.high < 0]
    if ahead and ahead == list(gains)[-len(ahead) :]:
        return PAYS, ahead, behind
    most = max(gain.high for gain in gains)
    return (NOT if not ahead and most < WORTH else UNCLEAR), ahead, behind


def sentence(gains: Sequence[Gain], ours: str, against: str) -> str:
    """What the levels say of ours against `against`; the numbers stand in a table beside it."""
    verdict, ahead, behind = judged(gains)
    if verdict == PAYS:
        told = f"From {where(ahead[0])} on, {ours} is ahead of {against}"
        told += f", by {ahead[0].value:.4f} there" + (
            f" and by {ahead[-1].value:.4f} at {ahead[-1].at}" if len(ahead) > 1 else ""
        )
        before = len(ahead) < len(gains)
        told += "; below that no gain is sure" if before else "; there is no lower level"
        return told + (f", and at {values(behind)} it is behind." if behind else ".")
    if verdict == NOT:
        told = f"At no divergence is {ours} more than {WORTH} ahead of {against}"
    else:
        none = [gain for gain in gains if gain not in ahead and gain.high < WORTH]
        unsure = [gain for gain in gains if gain not in ahead and gain not in none]
        if none:
            told = f"At divergence {values(none)} {ours} is at most {WORTH} ahead of {against}"
            told += f"; at {values(unsure)} it is unclear" if unsure else ""
        else:
            levels = f"divergence {values(unsure)}" if ahead else "every divergence"
            told = f"Whether {ours} is ahead of {against} is unclear at {levels}"
        told += f"; it is ahead at {values(ahead)}" if ahead else ""
    return told + (f". It is behind at {values(behind)}." if behind else ".")


def where(gain: Gain) -> str:
    return f"divergence {gain.at} (true: {gain.truth:.2f})"


def values(gains: Sequence[Gain]) -> str:
    """'0, 0.5 and 1'."""
    *first, last = [gain.at for gain in gains]
    return f"{', '.join(first)} and {last}" if first else last
