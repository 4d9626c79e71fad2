"""The printed tables of differences: from what each row is tested against, and from the strongest
rival."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from dtn_jax.papertables.content import comparisons
from dtn_jax.papertables.draws import own_spaces
from dtn_jax.papertables.numbers import ALIKE, difference, interval, p_value, thousandths
from dtn_jax.papertables.printed import Text, as_text, keys_of, with_ours
from dtn_jax.papertables.seeds import strongest, within

WITH_THE_SAME = "{ours} with the same experts ({ours} itself: with mlp)"  # of `interactions`
DUEL = (  # columns of the table of strongest rivals
    "rival",
    "difference × 1000",
    "95 % interval",
    "bootstrap's p",
    "Welch's t",
    "degrees of freedom",
    "t-test's p",
)
SMALL = (
    f"{ALIKE}: smaller than twice the seeds' standard deviation, pooled: 2 √((s² + q²)/2), with s "
    "and q those of the two rows' AUCs over seeds. Of two single runs, the lower row's is then the "
    "better one in more than 7 % of cases, even where the difference of means is significant."
)
T_TEST = (
    "The strongest rival is the row of another architecture with the highest mean AUC on this test "
    "split. Interval and bootstrap's p cover seeds and test rows; the t-test (Welch's, two-tailed) "
    "covers the seeds alone: it takes these test rows as given. No p here is corrected for several "
    "comparisons. That the rival was chosen by the same results raises its mean, so the p-values "
    "are too high, if anything, where {ours} is above it, and too low where {ours} is below."
)


def difference_text(found: Mapping) -> Text | None:
    """Differences from what each row is tested against; None where nothing is tested."""
    rows = [r for r in found["rows"] if comparisons(r)]
    keys = [k for k in own_spaces(keys_of(found)) if any(k in r["comparison"] for r in rows)]
    columns = {key: [difference(r["comparison"].get(key)) for r in rows] for key in keys}
    if not rows:
        return None
    title = f"AUC less that of {opponent(found)}: difference × 1000, 95 % interval, Holm's p"
    alike = any(within(c) for r in rows for c in comparisons(r).values())
    return dataclasses.replace(
        as_text(title, rows, columns), caption="", note=SMALL if alike else ""
    )


def rival_text(found: Mapping) -> Text | None:
    """Ours less its strongest rival on each tested task, by the bootstrap and by a t-test.

    None where there is no rival, or the training was shortened.
    """
    rivals = {} if "shortened" in found else strongest(found)
    rows = [(key, *duel(rival, one)) for key, (rival, one) in rivals.items()]
    if not rows:
        return None
    title = with_ours("{ours} less its strongest rival on each task: AUC", found)
    return Text(title, ("", *DUEL), tuple(rows), caption="", note=with_ours(T_TEST, found))


def duel(rival: str, one: Mapping) -> tuple[str, ...]:
    """The columns DUEL of ours less the rival."""
    bootstrap = p_value(one["p"], one["p"] <= one["least"])
    t_test = ("not defined", "", "")
    if one["t"] is not None:
        t = f"{one['t']:+.2f}".replace("-", "−")
        t_test = (t, f"{one['freedom']:.1f}", p_value(one["p_t"]))
    cells = (thousandths(one), interval(one), bootstrap, *t_test)
    return (f"`{rival}`", *(cell.removeprefix("= ") for cell in cells))


def opponent(found: Mapping) -> str:
    """What rows are tested against."""
    if "beside" in found:
        return f"the same row of {found['beside']}"
    if found["table"] == "divergence":
        return with_ours("{ours} at the same level", found)
    against = {r["against"] for r in found["rows"]}
    return against.pop() if len(against) == 1 else with_ours(WITH_THE_SAME, found)
