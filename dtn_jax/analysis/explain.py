"""explain(run, state, ...): all that this package has to say of a finished run, as JSON says it.

Pictures and tables are made from the same numbers: see pictures.py and sections.py.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dtn_jax.analysis import bayes, gate_use, gradients, importance, pictures, rank, watch
from dtn_jax.analysis.conflict import batches_of, make_conflict, over_batches
from dtn_jax.analysis.importance import Importance
from dtn_jax.analysis.pairs import STRENGTHS, Pairs, found_pairs, pair_strengths
from dtn_jax.analysis.passes import Passes
from dtn_jax.analysis.quality import Key, keys
from dtn_jax.analysis.sample import Sample, read_sample
from dtn_jax.analysis.segments import Segments, default_segment, segments
from dtn_jax.data import shown_values
from dtn_jax.data.sets.synthetic.funnel import FIELDS, FunnelSpec
from dtn_jax.errors import UserError
from dtn_jax.interface import SHARED
from dtn_jax.report import screen
from dtn_jax.run.run import Run
from dtn_jax.run.state import State
from dtn_jax.shapes import Int

OTHER_SEED = 1_000_003  # permutations of the truth are not those of the model
TOP = 15  # pairs that the JSON names


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
    truth = known_importance(run, sample, measured, settings, bar)
    facts = {
        "split": settings.split,
        "rows": len(sample.rows.ids),
        "undefined": undefined,
        "methods": {method: method_facts(one, settings.seed) for method, one in found.items()},
        "truth": truth_facts(truth, found, settings.seed) if truth else {},
        "gates": gate_facts(passes, segment, parts),
        "conflict": conflict_facts(passes),
        "over_training": watch.over_training(history),
        "pairs": pair_facts(passes, folder),
    }
    pictures.draw([facts], folder)
    return facts


def importances(
    passes: Passes,
    measured: Sequence[Key],
    settings: Settings,
    group: Int[np.ndarray, " B"] | None,
    bar: Bar,
) -> dict[str, Importance]:
    """{method: how important each field is to each of `measured`}, of the methods of `settings`."""
    fields, plain = passes.run.schema.read_names, passes.plain()
    given, repeats, found = (plain, measured, fields), settings.repeats, {}
    for method in settings.methods:
        if method == "permutation":
            done = bar("permuting fields", len(fields) * repeats)
            how = (*given, repeats, settings.seed, done, group)
            found[method] = importance.permutation(passes.permuted, *how)
        elif method == "unknown":
            done = bar("forgetting fields", len(fields))
            found[method] = importance.unknown(passes.unknown, *given, done, group)
        else:
            found[method] = importance.gradient(gradients.moves(passes), *given, group)
    return found


def method_facts(found: Importance, seed: int) -> dict:
    """What `importance.json` holds of a method."""
    by_key = _by_key(found)
    for k, key in enumerate(found.keys):
        for f, field in enumerate(found.fields):
            values = found.values[:, f, k]
            by_key[key][field]["spread"] = values.std(ddof=1) if len(values) > 1 else None
    return {
        "metric": dict(zip(found.keys, found.titles)),
        "base": dict(zip(found.keys, found.base.tolist())),
        "importance": by_key,
        "divergence": dataclasses.asdict(rank.divergence(found, seed)),
    }


def _by_key(found: Importance) -> dict[str, dict[str, dict]]:
    return {
        key: {
            field: {"mean": found.mean[f, k], "error": found.error[f, k]}
            for f, field in enumerate(found.fields)
        }
        for k, key in enumerate(found.keys)
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


def truth_facts(truth: Importance, found: Mapping[str, Importance], seed: int = 0) -> dict:
    """The known answer, and each method's agreement with it."""
    return {
        "base": dict(zip(truth.keys, truth.base.tolist())),
        "importance": _by_key(truth),
        "divergence": dataclasses.asdict(rank.divergence(truth, seed)),
        "agreement": {method: bayes.agreement(one, truth) for method, one in found.items()},
    }


def gate_facts(passes: Passes, segment: str, parts: Segments) -> dict:
    """Mean gate weights over all rows and in each part, by `segment`, and what to warn of."""
    run, tasks = passes.run, passes.run.schema.task_names
    found = passes.map(gate_use.make_gates(run.model, run.plan, run.at.table_mesh))
    weights, effective = (
        gate_use.in_order(found[which], tasks) for which in (gate_use.GATES, gate_use.EFFECTIVE)
    )
    if not weights:
        return {}
    use, scaled = gate_use.mean_use(weights), gate_use.mean_use(effective)
    by_segment = {name: gate_use.mean_use(weights, mask) for name, mask in parts.items()}
    warnings = gate_use.collapse(use | scaled)
    for warning in warnings:
        screen.say(("collapse:", "bold yellow"), f" {warning}")
    evenness = {gate: gate_use.evenness(own) for gate, own in weights.items()}
    return {
        "use": use,
        "relations": gate_use.relations(use, tasks),
        "effective": {"use": scaled, "relations": gate_use.relations(scaled, tasks)},
        "evenness": evenness,
        "reading": gate_use.reading(evenness, use, by_segment),
        "segment": segment,
        "segments": {
            name: {"rows": int(parts[name].sum()), "use": own} for name, own in by_segment.items()
        },
        "collapse": warnings,
    }


def conflict_facts(passes: Passes) -> dict:
    """{task, task: their gradients' cosine, the mean over batches, with half its interval}."""
    run = passes.run
    conflict = make_conflict(run.config.loss, run.model, run.plan, run.at.table_mesh)
    batches = batches_of(passes.count, run.config.data.batch_size)
    facts = {}
    for (task, other), cosines in passes.each(conflict, batches).items():
        mean, half = over_batches(cosines)
        shape = {"batches": batches.shape[0], "batch_rows": batches.shape[1]}
        facts[f"{task}, {other}"] = {"mean": mean, "half": half, **shape}
    return facts


def pair_facts(passes: Passes, folder: pathlib.Path) -> dict:
    """GDCN's strongest pairs by expert and, where pairs are known, how well those were found."""
    run, fields = passes.run, passes.run.schema.read_names
    found = pair_strengths(passes)
    if not found or len(fields) < 2:
        return {}
    groups = [*run.schema.task_names, SHARED]
    found = dict(sorted(found.items(), key=lambda item: groups.index(group_of(item[0]))))
    truth = {expert: known_pairs(run, group_of(expert)) for expert in found}
    facts = {expert: expert_facts(own, fields, truth[expert]) for expert, own in found.items()}
    judged = {expert: own["term"]["all"] for expert, own in facts.items() if "all" in own["term"]}
    words = {
        expert: f"{own['known']} known pairs: AUC {own['auc']:.2f}"
        for expert, own in judged.items()
        if own["auc"] is not None
    }
    drawn = {expert: own.strengths["term"] for expert, own in found.items()}
    known = {expert: own.get("all", {}) for expert, own in truth.items()}
    pictures.pairs(drawn, fields, known, words, folder / "pairs.png")
    return facts


def group_of(expert: str) -> str:
    """Whose a GDCN expert on the fields is: `click/gdcn_0`, `level_0_click/gdcn_0`: click's."""
    return expert.partition("/")[0].removeprefix("level_0_")


def expert_facts(found: Pairs, fields: Sequence[str], truth: Mapping[str, Mapping]) -> dict:
    """Of each strength the strongest pairs, and how well the known ones were found."""
    facts: dict = {"gates": dict(zip(fields, found.gates.tolist()))}
    rows, columns = np.triu_indices(len(fields), 1)
    for name in STRENGTHS:
        strengths = found.strengths[name]
        top = np.argsort(-strengths[rows, columns], kind="stable")[:TOP]
        facts[name] = {
            "strongest": [
                [fields[i], fields[j], float(strengths[i, j])]
                for i, j in zip(rows[top], columns[top])
            ],
            **{which: found_pairs(strengths, fields, list(own)) for which, own in truth.items()},
        }
    return facts


def known_pairs(run: Run, group: str) -> dict[str, dict[tuple[str, str], float]]:
    """On synthetic data {own: pairs of the group's stage, all: and of the stages before it}.

    A pair's value is its weight in the stage's logit; the group `shared` has all.
    """
    stages = run.data.notes.get("pairs", {}) if run.config.data.dataset == "synthetic" else {}
    if not stages:
        return {}
    names = list(stages)
    own = names if group == SHARED else [group]
    before = names if group == SHARED else names[: names.index(group) + 1]
    return {
        which: {(left, right): weight for n in chosen for left, right, _, weight in stages[n]}
        for which, chosen in (("own", own), ("all", before))
    }
