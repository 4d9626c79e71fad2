"""README.md, the model card: what a model is, on what it was measured, and its limits.

`facts` collects all that it says, as card/measured.json has it; `page` puts them into the template,
card.md. Its front matter is what model hubs read (huggingface.co/docs/hub/model-cards).
"""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jinja2
from markupsafe import Markup

from dtn_jax import errors
from dtn_jax.data import times
from dtn_jax.data.progress import percent
from dtn_jax.data.stages.limits import NOTE, Counts, relations
from dtn_jax.export import model_folder
from dtn_jax.export.compiled import EMBEDDING, SCALE
from dtn_jax.export.scores import SCORE, meanings
from dtn_jax.export.weights_file import read_weights
from dtn_jax.export.write.encoders import spec_of, unseen, value_text
from dtn_jax.export.write.measure import PICTURE, Export
from dtn_jax.export.write.program import inputs_of
from dtn_jax.metrics import METRICS
from dtn_jax.metrics.significance import FEW
from dtn_jax.models.build import experts_of
from dtn_jax.models.flops import needed_flops
from dtn_jax.report import markdown
from dtn_jax.report.description.overview import HASHED, cuts_line, kept_fields
from dtn_jax.schema import ALL, MEAN, Schema

TEMPLATE = pathlib.Path(__file__).with_name("card.md")
MEASURED = "card/measured.json"
LISTED = ("auc", "gauc", "logloss", "ece", "predicted_observed", "rmse", "xauc")
DAY = 86_400_000_000  # microseconds
WORDS = {name: getattr(errors, name) for name in ("TO_SCORE", "THIS_ALONE", "WHOLE")}
WORDS |= {"HASHED": HASHED, "SCORE": SCORE, "MEAN": MEAN, "FEW": FEW, "PICTURE": PICTURE}
WORDS["NAMES"] = NAMES = {name: METRICS[name].title for name in LISTED} | {"ece": "ECE"}


def write(export: Export, measured: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Writes README.md and card/measured.json.

    Args:
      export: the model; all that scores rows is written.
      measured: as of `measure.measure`; and `tables`, what storing them in another dtype than they
        were trained in changes, {} where they are as trained.
      manifest: what the manifest says beside the files.
    """
    known = facts(export, measured, manifest)
    (export.folder / MEASURED).write_text(json.dumps(known, indent=1, allow_nan=False))
    (export.folder / model_folder.CARD).write_text(page(known))


def page(known: Mapping[str, Any]) -> str:
    """The text of a card, from its `facts`."""

    def escaped(value: Any) -> str:
        """Any value as plain text of Markdown, in a cell of a table too; what is Markup stays."""
        text = str(value)
        return text if isinstance(value, Markup) else markdown.escaped(text).replace("|", r"\|")

    options = {"undefined": jinja2.StrictUndefined, "finalize": escaped}
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, **options)
    template = environment.from_string(TEMPLATE.read_text(), WORDS | {"pair": pair})
    return re.sub(r"\n{3,}", "\n\n", template.render(known)).strip() + "\n"


def facts(
    export: Export, measured: Mapping[str, Any], manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """All that a card says; see `write`."""
    run, schema, model = export.run, export.schema, export.facts
    config, data, notes, spec = run.config, run.data, run.data.notes, spec_of(run.data)
    metrics, loss = config.evaluate.sample_weights, config.loss.sample_weights
    uses = ["the loss"] * loss + ["metrics", "calibration"] * metrics
    unknown = unseen(run, model.fixed)
    chosen = {task: own["calibration"] for task, own in measured["calibration"].items()}
    outputs = meanings(schema, model.tasks, model.improper, chosen)
    test, counts = measured["calibrated"]["test"], data.unknown_values.get("test", {})
    strange = {f.name: counts.get(f.name, 0) for f in schema.fields if f.kind == "categorical"}
    most = sorted((name for name in strange if strange[name]), key=strange.get, reverse=True)[:5]
    days = notes.get("days") or {}
    dated = [day for day, _ in days.get("rows") or ()] if days.get("dated") else []
    return {
        "name": f"{config.model.architecture} on {schema.name}",
        **{name: manifest[name] for name in ("made", "versions", "plugins")},
        "architecture": config.model.architecture,
        "experts": experts_of(config.model),
        "auxiliary": run.auxiliary,
        **{name: getattr(model, name) for name in ("rows", "table_dtype", "members")},
        **_size(export),
        "outputs": outputs,
        "row_weights": [own for own in ((spec.weight, uses),) if own[0]]
        + [(column, ["the loss alone"]) for column in [run.schema.loss_weight] if column and loss],
        "positive_weights": config.loss.positive_weights,
        "weight": spec.weight if metrics else "",
        "group": run.schema.group,
        "data": schema.name,
        "fingerprint": data.fingerprint,
        "split_rows": {split: data.rows[split] for split in ("train", "validation", "test")},
        "train_share": config.data.train_share,
        "days": [times.show(day * DAY, "date") for day in (min(dated), max(dated))]
        if dated
        else [],
        "cuts": cuts_line(notes),
        "read": notes.get("read", 0),
        **{key: notes.get(key) or {} for key in ("rejected", "sample_negatives", "about")},
        "fields": list(_fields(export, unknown)),
        "hashed": bool(data.hash_functions),
        "tasks": list(_tasks(export, outputs)),
        "fixed": {name: value_text(value) for name, value in model.fixed.items()},
        "unseen": unknown,
        **measured,
        "listed": [n for n in LISTED if any(own.get(n) is not None for own in test.values())],
        "worse": [
            f"{key} ({pair(*ends)})"
            for key, _, *ends in changes(measured, "test", "logloss")
            if ends[1] > ends[0]
        ],
        "reranked": list(reranked(measured, schema, "test")),
        "was_shown": config.data.dataset == "logs" or bool(run.schema.group),
        "unknown": [f"{name} {percent(strange[name], data.rows['test'])}" for name in most],
        "few": [
            key
            for key, own in test.items()
            if "positives" in own and min(n := own["positives"], own["examples"] - n) < FEW
        ],
        "derived": any(len(task.spaces) > 1 for task in schema.tasks),
        "relations": outside(schema, notes.get(NOTE, {}), spec.weight),
    }


def _size(export: Export) -> dict[str, int]:
    """Of all members together: parameters but running statistics, and FLOPs of a row."""
    stored = read_weights(export.folder / model_folder.WEIGHTS)
    shapes = {name: jax.ShapeDtypeStruct(a.shape, a.dtype) for name, a in stored.items()}
    sizes = {name: array.size for name, array in stored.items() if not name.endswith(SCALE)}
    embedding = sizes.pop(EMBEDDING)
    dense = sum(size for name, size in sizes.items() if "model_state/" not in name)
    flops = needed_flops(export.forward.__call__, shapes, inputs_of(export.forward.plan, 1))
    return {"parameters": dense, "embedding_parameters": embedding, "flops": flops}


def _fields(export: Export, unknown: Mapping[str, str]) -> Iterator[list[str]]:
    """The table of fields that `prepare` shows, its header first, and how each is scored."""
    grid, model = kept_fields(export.run.data), export.facts
    rules = {field.name: field.rule for field in spec_of(export.run.data).fields}
    yield [*(" ".join(text.split()) for text in grid.header), "when scored"]
    for name, *cells in grid.rows:
        notes = ["optional" if name in model.optional else "", rules.get(name, "")]
        if name in model.fixed:
            notes = [f"scored as {value_text(model.fixed[name])}", unknown.get(name, ""), *notes]
        yield [name, *cells, "; ".join(filter(None, notes))]


def _tasks(export: Export, outputs: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """Of each task its name, kind, what its score is, on which rows it was trained, on which others
    it is told of, and what it reads."""
    means = {chosen.task: chosen.meaning for chosen in export.run.losses}
    for task in (task for task in export.schema.tasks if task.name in export.facts.tasks):
        own, *others = ["all rows" if s == ALL else f"rows with {s}" for s in task.spaces]
        score = outputs[f"{task.name}@{task.space}"] if task.kind == "binary" else means[task.name]
        rest = (", ".join(names) or "none" for names in (others, task.upstream))
        yield task.name, task.kind, score, own, *rest


def changes(measured: Mapping[str, Any], split: str, *names: str) -> Iterator[tuple]:
    """(output, metric, before, after) where calibration changes it, in the digits of a card."""
    before, after = (measured[which][split] for which in ("uncalibrated", "calibrated"))
    for key in before:
        for name in names:
            ends = before[key].get(name), after[key].get(name)
            if None not in ends and round(ends[0], 4) != round(ends[1], 4):
                yield key, name, *ends


def reranked(measured: Mapping[str, Any], schema: Schema, split: str) -> Iterator[str]:
    """A sentence for each derived output whose AUC or GAUC is another one after calibration."""
    own = {f"{task.name}@{task.space}" for task in schema.tasks}
    for key, name, *ends in changes(measured, split, "auc", "gauc"):
        if key not in own:
            yield (
                f"Calibration changes how {key} ranks, which is derived from more than one task: "
                f"{NAMES[name]} {pair(*ends)} on {split}."
            )


def outside(schema: Schema, counts: Counts, weight: str) -> list[dict[str, Any]]:
    """Which tasks are taken to happen only where others do, and how many positives do not; {} of a
    set that has not counted them."""
    return [
        {
            **{name: getattr(relation, name) for name in ("task", "other", "assumed")},
            "count": relation.outside(counts)[0],
            "counted": counts and f"In the log {relation.told(counts, weight)}",
        }
        for relation in relations(schema.tasks)
    ]


def pair(before: float | None, after: float | None, digits: int = 4) -> str:
    """'0.1234 → 0.1230'; '' where neither is defined."""
    if before is None and after is None:
        return ""
    return " → ".join("n/d" if v is None else f"{v:.{digits}f}" for v in (before, after))
