"""The page that experiments.importance_report writes of all that it keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dtn_jax.analysis import findings
from dtn_jax.analysis.sections import decimals, divergence_cells, sections
from dtn_jax.report.grid import Grid
from dtn_jax.report.sections import markdown

COMMAND = "python -m experiments.importance_report"
HEAD = """\
# Importance by task

Which fields does each task's prediction depend on, how far do the tasks differ in that, and what
goes on inside the model? `experiments.importance_report` writes this page from the JSON files
beside it; `dtn_jax/analysis/` defines the measures. How to read it:

- Intervals are over rows and permutations: they describe one trained model. Where there are models
  of several seeds, numbers are means over them ± their standard deviation.
- Fields that carry the same information share their importance: permuting one leaves the other in
  place. Permuted rows may be impossible ones, and what a model depends on need not be a cause.
- The interval of a divergence is the middle 95 % of resampled divergences. In the simulations of
  `tests/equations/analysis/test_analysis_rank.py` (8 to 39 fields, little and much noise), 88 to
  96 % of these intervals hold the true value. Noise pushes divergences up. So the interval is not
  a test against 0; compare it with the divergence that noise alone causes.
- If train has no unknown value of a field, row 0 of its table was never trained. Setting the
  field to unknown then removes it, rather than saying that it is unknown.
"""


def page(every: Mapping[str, Sequence[Mapping]], pictures: Mapping[str, Mapping[str, str]]) -> str:
    """The page.

    Args:
      every: {name: what was found of its models, by seed}.
      pictures: {name: those of sections.PICTURES that there are, with their files' names}.
    """
    parts = [HEAD, summary(every)]
    for name, found in every.items():
        parts += [f"## {name}\n", how(name, found)]
        parts.append(markdown(sections(found, pictures[name]), level=3))
    return "\n".join(parts)


def summary(by_name: Mapping[str, Sequence[Mapping]]) -> str:
    """A row for each two tasks of each data set, in the spaces of their losses, by permutation."""
    rows = []
    for name, found in by_name.items():
        if "permutation" not in found[0]["methods"]:
            continue
        every = findings.divergences(found, "permutation")
        own = findings.own_spaces(found[0]["methods"]["permutation"]["importance"])
        every = [row for row in every if {row["left"], row["right"]} <= {*own}]
        agreed = agreement(found)
        for row, cells in zip(every, divergence_cells(found, every)[1]):
            seeds = cells[4] if len(found) > 1 else ""
            known = "" if row["known"] is None else decimals(row["known"])
            agree = ", ".join(decimals(agreed[row[s]]) for s in ("left", "right") if agreed)
            rows.append([name, cells[0], str(len(found)), *cells[1:4], seeds, known, agree])
    header = ["data set", "tasks", "seeds", "divergence", "95 % interval", "noise alone"]
    grid = Grid([*header, "seeds alone", "known", "agreement"], rows)
    return (
        "Divergence is 1 − Spearman's correlation of two tasks' permutation importances. `noise "
        "alone` is what another sample of rows makes each task diverge by from itself, `seeds "
        "alone` what another seed does. Where the answer is known, `known` is the divergence of "
        "the Bayes-optimal score's importances, and `agreement` each task's rank correlation with "
        "these, over the fields above their noise."
        f"\n\n{grid.markdown()}"
    )


def agreement(found: Sequence[Mapping]) -> dict[str, float | None]:
    """{task@space: the mean over seeds of its agreement with the known answer}, where known."""
    table = findings.table(
        {"key": key, **own}
        for one in found
        for key, own in one["truth"].get("agreement", {}).get("permutation", {}).items()
    )
    if not len(table):
        return {}
    means = findings.over_seeds(table, ("key",), "rank_correlation")
    return dict(means.select("key", "rank_correlation").iter_rows())


def how(name: str, found: Sequence[Mapping]) -> str:
    """The commands and versions behind a section."""
    first = found[0]
    if "seed" in first:
        last = found[-1]["seed"]
        explained = f"{COMMAND} --datasets={name} --seeds={last} --workdir=runs/paper"
        steps = ", ".join(f"{one['step']:,}" for one in found)
        states = (
            f"the best states of seeds {', '.join(str(o['seed']) for o in found)} (step {steps})"
        )
    else:
        workdir = f"runs/{first['dataset']}_{first['architecture']}"
        words = ["dtn-jax feature_importance", f"--workdir={workdir}"]
        explained = " ".join([*words, *first["arguments"]])
        states = f"its best state (step {first['step']:,})"
    versions = first["versions"]
    return (
        f"`{first['architecture']}` with experts `{first['experts']}`, {states}, "
        f"{first['rows']:,} rows of {first['split']}. {first['date']}, jax "
        f"{versions['jax']}, Python {versions['python']}.\n\n"
        f"```bash\n{first['trained_by']}\n{explained}\n```\n"
    )
