"""explain(run, state, ...): all that this package has to say of a finished run, as JSON says it.

Pictures and tables are made from the same numbers: see pictures.py and sections.py.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

from dtn_jax.analysis import bayes, conflict, gate_use, gradients, importance, pairs, pictures, rank
from dtn_jax.analysis.conflict import batches_of, make_conflict
from dtn_jax.analysis.gate_use import make_gates
from dtn_jax.analysis.importance import Importance, Sample
from dtn_jax.analysis.passes import Passes
from dtn_jax.analysis.quality import keys
from dtn_jax.analysis.sample import read_sample
from dtn_jax.analysis.segments import chosen_segment, segments
from dtn_jax.analysis.watch import over_training
from dtn_jax.data.sets.synthetic.funnel import FIELDS, FunnelSpec
from dtn_jax.errors import UserError
from dtn_jax.interface import Batch
from dtn_jax.run import Run
from dtn_jax.state import State

OTHER_SEED = 1_000_003  # permutations of the truth are not those of the model


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is asked.

    Attributes:
      split: whose rows are read.
      methods: of importance.METHODS.
      repeats: permutations of each field.
      rows: of the sample, at most.
      segment: a field, `group`, or '' for the default.
      seed: of the sample and the permutations.
    """

    split: str = "validation"
    methods: tuple[str, ...] = importance.METHODS
    repeats: int = 5
    rows: int = 50_000
    segment: str = ""
    seed: int = 0


Bar = Callable[[str, int], Callable[[], object]]  # (what, how many) -> called after each


def explain(
    run: Run,
    state: State,
    settings: Settings,
    history: Sequence[Mapping],
    folder: pathlib.Path,
    bar: Bar = lambda what, count: lambda: None,
) -> dict:
    """Measures everything, writes the pictures into `folder`, and returns the numbers.

    Args:
      run, state: a finished run and the state to be explained.
      settings: see there.
      history: the run's records of metrics.jsonl.
      folder: for the PNG files.
      bar: shows how far the long parts are.

    Raises:
      UserError: an unknown split or segment, or rows on which nothing can be measured.
    """
    segment = chosen_segment(run.schema, settings.segment)
    rows, group = read_sample(run.data, settings.split, settings.rows, settings.seed)
    measured, undefined = keys(run.schema, rows, run.config.evaluate.sample_weights)
    if not measured:
        raise UserError(
            f"no task has both classes in {len(rows.ids):,} rows of {settings.split}: "
            "nothing to measure; take more rows"
        )
    parts = segments(rows, group, run, segment) if segment else {}
    passes = Passes(run, state, rows)
    sample = Sample(passes.plain(), measured, run.schema.read_names, group)
    found = importances(passes, sample, settings, bar)
    tasks, gates = run.schema.task_names, passes.map(make_gates(passes.forward))
    cosines = make_conflict(run.config.loss, passes.forward)
    batches = batches_of(passes.count, run.config.data.batch_size)
    facts = {
        "split": settings.split,
        "rows": len(rows.ids),
        "undefined": undefined,
        "methods": {method: method_facts(one, settings.seed) for method, one in found.items()},
        "truth": truth_facts(run, rows, sample, settings, found, bar),
        "gates": gate_use.facts(gates, tasks, segment, parts),
        "conflict": conflict.facts(passes.each(cosines, batches), tasks, batches),
        "over_training": over_training(history),
        "pairs": pairs.facts(passes),
    }
    pictures.draw([facts], folder)
    return facts


def importances(
    passes: Passes, sample: Sample, settings: Settings, bar: Bar
) -> dict[str, Importance]:
    """{method: how important each field is to each key}, of the methods of `settings`."""
    fields, repeats, seed = len(sample.fields), settings.repeats, settings.seed

    def by(method: str) -> Importance:
        if method == "gradient":
            return importance.gradient(gradients.moves(passes), sample)
        if method == "unknown":
            return importance.unknown(passes.unknown, sample, bar("forgetting fields", fields))
        done = bar("permuting fields", fields * repeats)
        return importance.permutation(passes.permuted, sample, repeats, seed, done)

    return {method: by(method) for method in settings.methods}


def method_facts(found: Importance, seed: int) -> dict:
    """What `importance.json` holds of a method."""
    by_key = {
        key: {
            field: {"mean": found.mean[f, k], "error": found.error[f, k]}
            for f, field in enumerate(found.fields)
        }
        for k, key in enumerate(found.keys)
    }
    return {
        "metric": dict(zip(found.keys, found.titles)),
        "base": dict(zip(found.keys, found.base.tolist())),
        "importance": by_key,
        "divergence": dataclasses.asdict(rank.divergence(found, seed)),
    }


def truth_facts(
    run: Run,
    rows: Batch,
    sample: Sample,
    settings: Settings,
    found: Mapping[str, Importance],
    bar: Bar,
) -> dict:
    """On synthetic data the known answer, the importance of the Bayes-optimal score, and each
    method's agreement with it; else empty."""
    if run.config.data.dataset != "synthetic":
        return {}
    ids = rows.ids[:, [run.schema.field_names.index(field) for field in FIELDS]]
    done = bar("permuting fields of the truth", len(FIELDS) * settings.repeats)
    how = settings.repeats, settings.seed + OTHER_SEED, done
    truth = bayes.bayes_importance(FunnelSpec(**run.data.notes["spec"]), ids, sample.keys, *how)
    agreed = {method: bayes.agreement(one, truth) for method, one in found.items()}
    return {**method_facts(truth, settings.seed), "agreement": agreed}
