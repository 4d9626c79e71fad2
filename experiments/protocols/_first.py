"""Which model first? Routings and experts at equal FLOPs, with tuning's luck in every interval.

Written before any of its runs. On each set, `shared_bottom`, `mmoe` and `dtn` have experts of one
kind, `mlp` or `dcnv2`, as wide as it takes for some 400 thousand FLOPs an example (on kuairand some
300 thousand, a quarter of what `dtn` has there as it ships); `dtn as shipped` has its config's
experts and sizes. Each of these rows has SEARCHES independent searches and two new seeds for each;
further rows, on adult and on the seven labels, have two searches. Trials were cut from six to three
runs of full length a search, before any test row was read, so that each set takes at most two hours
on two cores. LightGBM has as many searches, each of twelve settings, about as many as halving tries
here, with two seeds each:

    python -m experiments.references --protocol=first --workdir=runs/first
    dtn-jax paper_tables --protocol=first --table=overall --workdir=runs/first

What is claimed of the mean AUC of a set's tasks, each family with Holm's correction over all sets:

(a) within a routing, dcnv2 experts are better than mlp experts;
(b) mmoe with dcnv2 experts is not worse than dtn as shipped, at no more than a quarter of its
    FLOPs: by 0.001 on census_income; elsewhere by a margin from the spread of both rows' searches
    on validation, 2.49 standard errors of the difference (a power of 0.8 if seeds and test rows
    added nothing, which they do), and where that is above 0.003 only the interval is reported;
(c) on the seven labels, parts for each task pay: task groups (dtn against mmoe with the same
    experts), own embeddings (dtn with and without; stem against mmoe), own models (single_task
    against shared_bottom);
(d) any row is better than LightGBM.
"""

from __future__ import annotations

from collections.abc import Mapping

from dtn_jax.papertables.protocol import LIGHTGBM, OF_SEARCHES, Claim, Protocol, Settings, entry

SEARCHES, SEARCHES_OF_FURTHER = 4, 2
TRIALS = 3
SHIPPED = "dtn as shipped"
ROUTINGS = ("shared_bottom", "mmoe", "dtn")
HIDDEN, RANK = "model.mlp.hidden", "model.dcnv2.rank"


def core(experts: Mapping[str, int], widths: Mapping[str, tuple[int, int]]) -> dict[str, Settings]:
    """The rows of equal FLOPs.

    Args:
      experts: {routing: how many experts a group has}.
      widths: {routing: the width of mlp experts, the rank of dcnv2 experts}.
    """
    rows = {}
    for routing in ROUTINGS:
        count, (hidden, rank) = experts[routing], widths[routing]
        rows[f"{routing}, mlp"] = {**entry(routing, f"mlp*{count}"), HIDDEN: (hidden,)}
        rows[f"{routing}, dcnv2"] = {**entry(routing, f"dcnv2*{count}"), RANK: rank}
    return rows


def further(mmoe: int, width: int) -> dict[str, Settings]:
    """The rows that some sets have beside.

    Args:
      mmoe: how many experts it has.
      width: of the mlp experts of dtn.
    """
    mlp = {HIDDEN: (width,)}
    return {
        "single_task, mlp": entry("single_task", "mlp") | mlp,
        "ple, mlp": entry("ple", "mlp") | mlp,
        "stem, mlp": entry("stem", "mlp") | mlp,
        "dtn, own embeddings": entry("dtn", "mlp") | mlp | {"model.dtn.own_embeddings": True},
        "mmoe, gdcn": entry("mmoe", f"gdcn*{mmoe}"),
        "mmoe, masknet": entry("mmoe", f"masknet*{mmoe}"),
    }


def of_first(
    config: str,
    shipped: str,
    rows: Mapping[str, Settings],
    more: Mapping[str, Settings] | None = None,
    worse: float | str = OF_SEARCHES,
    claims: tuple[Claim, ...] = (),
    **rest,
) -> Protocol:
    """The protocol of a set.

    Args:
      config: its config file, perhaps with an argument.
      shipped: the experts that the config gives to dtn.
      rows: of equal FLOPs.
      more: further rows.
      worse: the margin of (b).
      claims: beside those that all sets share.
      rest: further attributes of the protocol.
    """
    rows, more = {SHIPPED: entry("dtn", shipped), **rows}, more or {}
    kinds = tuple(Claim("a", f"{r}, dcnv2", f"{r}, mlp") for r in ROUTINGS)
    trees = tuple(Claim("d", name, LIGHTGBM) for name in (*rows, *more))
    return Protocol(
        config=config,
        entries={**rows, **more},
        ours=SHIPPED,
        searches=dict.fromkeys(rows, SEARCHES) | dict.fromkeys(more, SEARCHES_OF_FURTHER),
        claims=(*kinds, Claim("b", "mmoe, dcnv2", SHIPPED, worse), *claims, *trees),
        trials=TRIALS,
        finalists=1,
        seeds=2,
        note="Each row's runs take the settings of its searches in turns.",
        **rest,
    )
