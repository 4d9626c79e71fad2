"""explain(run, state, ...): all that this package has to say of a finished run, as JSON says it.

Pictures and tables are made from the same numbers: see figures.py, tables.py and markdown.py.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dtn_jax.analysis import bayes, figures, gradients, importance, inside, rank
from dtn_jax.analysis.importance import Importance
from dtn_jax.analysis.passes import Passes
from dtn_jax.analysis.quality import Key, keys
from dtn_jax.analysis.sample import Sample, read_sample
from dtn_jax.analysis.segments import default_segment, segments
from dtn_jax.data import shown_values
from dtn_jax.data.sets.synthetic.funnel import FIELDS, FunnelSpec
from dtn_jax.errors import UserError
from dtn_jax.run import Run
from dtn_jax.shapes import Int
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
    """
    sample = read_sample(run.data, settings.split, settings.rows, settings.seed)
    measured, undefined = keys(run.schema, sample.rows, run.config.evaluate.sample_weights)
    if not measured:
        raise UserError(
            f"no task has both classes in {len(sample.rows.ids):,} rows of {settings.split}: "
            "nothing to measure; take more rows"
        )
    segment = settings.segment or default_segment(run.schema)
    shown = shown_values.fields(run.data.folder)
    parts = segments(sample, run.schema, shown, segment) if segment else {}
    passes = Passes(run, state, sample.rows)
    found = importances(passes, measured, settings, sample.group, bar)
    between = {method: rank.divergence(one, settings.seed) for method, one in found.items()}
    for method, one in found.items():
        figures.importance(one, folder / f"importance_{method}.png")
    truth = known_importance(run, sample, measured, settings, bar)
    known = rank.divergence(truth, settings.seed) if truth else None
    if len(measured) > 1:
        figures.divergence(between, known, folder / "divergence.png")
    return {
        "split": settings.split,
        "rows": len(sample.rows.ids),
        "undefined": undefined,
        "methods": {m: method_facts(found[m], between[m]) for m in found},
        "truth": truth_facts(truth, known, found) if truth else {},
        "gates": inside.gate_facts(passes, segment, parts, folder),
        "conflict": inside.conflict_facts(passes),
        "over_training": inside.training_facts(history, run.schema, folder),
        "pairs": inside.pair_facts(passes, folder),
    }


def importances(
    passes: Passes,
    measured: Sequence[Key],
    settings: Settings,
    group: Int[np.ndarray, " B"] | None,
    bar: Bar,
) -> dict[str, Importance]:
    """{method: how important each field is to each of `measured`}, of the methods of `settings`."""
    fields, plain = passes.run.schema.read_names, passes.plain()
    found = {}
    for method in settings.methods:
        if method == "permutation":
            done = bar("permuting fields", len(fields) * settings.repeats)
            found[method] = importance.permutation(
                passes.permuted,
                plain,
                measured,
                fields,
                settings.repeats,
                settings.seed,
                done,
                group,
            )
        elif method == "unknown":
            done = bar("forgetting fields", len(fields))
            found[method] = importance.unknown(passes.unknown, plain, measured, fields, done, group)
        else:
            moves = gradients.moves(passes)
            found[method] = importance.gradient(moves, plain, measured, fields, group)
    return found


def method_facts(found: Importance, between: rank.Divergence) -> dict:
    """What `importance.json` holds of a method."""
    names = found.fields
    by_key = {
        key: {
            field: {
                "mean": found.mean[f, k],
                "error": found.error[f, k],
                "spread": found.values[:, f, k].std(ddof=1) if len(found.values) > 1 else None,
            }
            for f, field in enumerate(names)
        }
        for k, key in enumerate(found.keys)
    }
    return {
        "metric": dict(zip(found.keys, found.titles)),
        "base": dict(zip(found.keys, found.base.tolist())),
        "importance": by_key,
        "divergence": dataclasses.asdict(between),
    }


def known_importance(
    run: Run, sample: Sample, measured: Sequence[Key], settings: Settings, bar: Bar
) -> Importance | None:
    """On synthetic data the Bayes-optimal score's importance, else None."""
    if run.config.data.dataset != "synthetic":
        return None
    spec = FunnelSpec(**run.data.notes["spec"])
    ids = sample.rows.ids[:, [run.schema.field_names.index(field) for field in FIELDS]]
    done = bar("permuting fields of the truth", len(FIELDS) * settings.repeats)
    seed = settings.seed + OTHER_SEED
    return bayes.bayes_importance(spec, ids, measured, settings.repeats, seed, done)


def truth_facts(
    truth: Importance, between: rank.Divergence, found: Mapping[str, Importance]
) -> dict:
    """The known answer, and each method's agreement with it."""
    return {
        "base": dict(zip(truth.keys, truth.base.tolist())),
        "importance": {
            key: {
                field: {"mean": truth.mean[f, k], "error": truth.error[f, k]}
                for f, field in enumerate(FIELDS)
            }
            for k, key in enumerate(truth.keys)
        },
        "divergence": dataclasses.asdict(between),
        "agreement": {method: bayes.agreement(one, truth) for method, one in found.items()},
    }
