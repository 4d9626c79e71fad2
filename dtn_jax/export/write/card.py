"""README.md, the model card: what a model is, on what it was measured, and its limits.

`facts` collects all that it says, as card/measured.json has it; `page` puts them into the template,
card.md. The front matter is what model hubs read (huggingface.co/docs/hub/model-cards).
"""

from __future__ import annotations

import json
import math
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jinja2
import yaml

from dtn_jax import errors
from dtn_jax.data.progress import percent
from dtn_jax.data.stages.limits import NOTE, Counts, relations
from dtn_jax.export import model_folder
from dtn_jax.export.compiled import EMBEDDING, SCALE
from dtn_jax.export.scores import SCORE, meanings
from dtn_jax.export.weights_file import read_weights
from dtn_jax.export.write.encoders import spec_of, unseen, value_text
from dtn_jax.export.write.measure import PICTURE, Export, Metrics
from dtn_jax.export.write.program import inputs_of
from dtn_jax.metrics import METRICS
from dtn_jax.metrics.significance import FEW
from dtn_jax.models.flops import needed_flops
from dtn_jax.report import markdown
from dtn_jax.report.description.grid import moment
from dtn_jax.report.description.overview import cuts_line, kept_fields
from dtn_jax.run import Run
from dtn_jax.schema import ALL, MEAN, Schema

TEMPLATE = pathlib.Path(__file__).with_name("card.md")
MEASURED = "card/measured.json"
LISTED = ("auc", "gauc", "logloss", "ece", "predicted_observed", "rmse", "xauc")
NAMES = {name: METRICS[name].title for name in LISTED} | {"ece": "ECE"}
DAY = 86_400_000_000  # microseconds
TAGS = ("jax", "stablehlo", "tabular", "multi-task-learning", "recommender-systems", "ranking")
TYPES = {"binary": "tabular-classification", "regression": "tabular-regression"}  # of hubs
WORDS = {name: getattr(errors, name) for name in ("TO_SCORE", "THIS_ALONE", "WHOLE")}
WORDS |= {"SCORE": SCORE, "MEAN": MEAN, "FEW": FEW}


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


# ---------------------------------------------------------------- the facts


def facts(
    export: Export, measured: Mapping[str, Any], manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """All that a card says; see `write`."""
    run, schema, model = export.run, export.schema, export.facts
    config, weight = run.config, spec_of(run.data).weight
    metrics, loss = config.evaluate.sample_weights, config.loss.sample_weights
    uses = ["the loss"] * loss + ["metrics", "calibration"] * metrics
    row_weights = [(weight, uses)] * bool(weight)
    row_weights += [(run.schema.loss_weight, ["the loss alone"])] * bool(
        run.schema.loss_weight and loss
    )
    strange = unseen(run, model.fixed)
    chosen = {task: own["calibration"] for task, own in measured["calibration"].items()}
    outputs = meanings(schema, model.tasks, model.improper, chosen)
    counts = run.data.unknown_values.get("test", {})
    known = {f.name: counts.get(f.name, 0) for f in schema.fields if f.kind == "categorical"}
    most = sorted((name for name in known if known[name]), key=known.get, reverse=True)[:5]
    before, after = (measured[which]["test"] for which in ("uncalibrated", "calibrated"))
    losses = {key: (before[key].get("logloss"), after[key].get("logloss")) for key in before}
    return {
        "name": f"{config.model.architecture} on {schema.name}",
        "made": manifest["made"],
        "versions": manifest["versions"],
        "plugins": [own["name"] for own in manifest["plugins"]],
        "architecture": config.model.architecture,
        "experts": str(config.model.experts),
        "outputs": outputs,
        **_size(export),
        "table_rows": model.rows,
        "table_dtype": model.table_dtype,
        "members": model.members,
        "selected_by": model.members[0]["selected_by"],
        "row_weights": row_weights,
        "positive_weights": config.loss.positive_weights,
        "weight": weight if metrics else "",
        "group": run.schema.group,
        "data": _data(run),
        "fields": _fields(export, strange),
        "tasks": list(_tasks(export, outputs)),
        "fixed": {
            name: {"value": value_text(value), "unseen": strange.get(name, "")}
            for name, value in model.fixed.items()
        },
        **measured,
        "worse": [
            f"{key} ({pair(*ends)})"
            for key, ends in losses.items()
            if None not in ends and round(ends[1], 4) > round(ends[0], 4)
        ],
        "reranked": list(reranked(measured, schema, "test")),
        "was_shown": config.data.dataset == "logs" or bool(run.schema.group),
        "unknown": [f"{name} {percent(known[name], run.data.rows['test'])}" for name in most],
        "few": [
            key
            for key, own in after.items()
            if min(n := own.get("positives") or 0, own["examples"] - n) < FEW and "auc" in own
        ],
        "derived": any(len(task.spaces) > 1 for task in schema.tasks),
        "relations": outside(schema, run.data.notes.get(NOTE, {}), weight),
    }


def _size(export: Export) -> dict[str, int]:
    """Of all members together: parameters but running statistics, and FLOPs of a row."""
    stored = read_weights(export.folder / model_folder.WEIGHTS)
    shapes = {name: jax.ShapeDtypeStruct(a.shape, a.dtype) for name, a in stored.items()}
    left_out = (EMBEDDING, f"{EMBEDDING}{SCALE}")
    dense = [
        math.prod(leaf.shape)
        for name, leaf in shapes.items()
        if name not in left_out and not name.endswith(SCALE) and "model_state/" not in name
    ]
    flops = needed_flops(export.forward.__call__, shapes, inputs_of(export.forward.plan, 1))
    return {
        "parameters": sum(dense),
        "embedding_parameters": math.prod(shapes[EMBEDDING].shape),
        "flops": flops,
    }


def _data(run: Run) -> dict[str, Any]:
    data, notes = run.data, run.data.notes
    dates = notes.get("days") or {}
    days = [day for day, _ in dates.get("rows") or ()] if dates.get("dated") else []
    return {
        "name": run.schema.name,
        "fingerprint": data.fingerprint,
        "rows": {split: data.rows[split] for split in ("train", "validation", "test")},
        "train_share": run.config.data.train_share,
        "days": [moment(day * DAY, True) for day in (min(days), max(days))] if days else [],
        "cuts": cuts_line(notes),
        "read": notes.get("read", 0),
        "rejected": notes.get("rejected") or {},
        "sampled": notes.get("sample_negatives") or {},
        "about": notes.get("about") or {},
    }


def _fields(export: Export, strange: Mapping[str, str]) -> dict[str, Any]:
    """The table of fields that `prepare` shows, and how each is scored."""
    grid, model = kept_fields(export.run.data), export.facts
    rules = {field.name: field.rule for field in spec_of(export.run.data).fields}
    rows = []
    for name, *cells in grid.rows:
        notes = ["optional" if name in model.optional else "", rules.get(name, "")]
        if name in model.fixed:
            notes = [f"scored as {value_text(model.fixed[name])}", strange.get(name, ""), *notes]
        rows.append([name, *cells, "; ".join(filter(None, notes))])
    header = [*(" ".join(text.split()) for text in grid.header), "when scored"]
    return {"header": header, "rows": rows, "note": grid.note}


def _tasks(export: Export, outputs: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    means = {chosen.task: chosen.meaning for chosen in export.run.losses}
    for task in (task for task in export.schema.tasks if task.name in export.facts.tasks):
        own, *others = ["all rows" if s == ALL else f"rows with {s}" for s in task.spaces]
        score = outputs[f"{task.name}@{task.space}"] if task.kind == "binary" else means[task.name]
        rest = (", ".join(names) or "none" for names in (others, task.upstream))
        yield task.name, task.kind, score, own, *rest


def reranked(measured: Mapping[str, Any], schema: Schema, split: str) -> Iterator[str]:
    """A sentence for each derived output whose AUC or GAUC is another one after calibration."""
    own = {f"{task.name}@{task.space}" for task in schema.tasks}
    for key, before in measured["uncalibrated"][split].items():
        after = measured["calibrated"][split][key]
        ends = {NAMES[n]: (before.get(n), after.get(n)) for n in ("auc", "gauc")}
        changes = [
            f"{title} {pair(*values)}"
            for title, values in ends.items()
            if None not in values and round(values[0], 4) != round(values[1], 4)
        ]
        if changes and key not in own:
            yield (
                f"Calibration changes how {key} ranks, which is derived from more than one task: "
                f"{', '.join(changes)} on {split}."
            )


def outside(schema: Schema, counts: Counts, weight: str) -> list[dict[str, Any]]:
    """Which tasks are taken to happen only where others do, and how many positives do not; {} of a
    set that has not counted them."""
    return [
        {
            "task": relation.task,
            "other": relation.other,
            "assumed": relation.assumed,
            "count": relation.outside(counts)[0],
            "counted": counts and f"In the log {relation.told(counts, weight)}",
        }
        for relation in relations(schema.tasks)
    ]


def front_matter(known: Mapping[str, Any]) -> str:
    """What model hubs read, in YAML. The licence is the data's, where that is known."""
    licence = known["data"]["about"].get("licence", "")
    named = {"license": licence.lower().replace(" ", "-")}  # CC BY 4.0 is cc-by-4.0
    if not licence.startswith("CC "):
        named = {"license": "other", "license_name": licence} if licence else {"license": "unknown"}
    types, name = {task: TYPES[kind] for task, kind, *_ in known["tasks"]}, known["data"]["name"]
    results = [
        {
            "task": {"type": types[key.partition("@")[0]], "name": key},
            "dataset": {"type": name, "name": name, "split": "test"},
            "metrics": [
                {"type": metric, "name": NAMES[metric], "value": own[metric]}
                for metric in LISTED
                if own.get(metric) is not None
            ],
        }
        for key, own in known["calibrated"]["test"].items()
    ]
    head = {"library_name": "dtn_jax", **named, "pipeline_tag": results[0]["task"]["type"]}
    head |= {"tags": [*TAGS, known["architecture"]]}
    head |= {"model-index": [{"name": known["name"], "results": results}]}
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=1000).rstrip()


# ---------------------------------------------------------------- the page


class Markdown(str):
    """A text that is not escaped."""


def page(known: Mapping[str, Any]) -> str:
    """The text of a card, from its `facts`."""

    def escaped(value: Any) -> str:
        """Any value as plain text of Markdown, in a cell of a table too."""
        if isinstance(value, Markdown):
            return value
        return markdown.escaped(str(value)).replace("|", r"\|")

    options = {"undefined": jinja2.StrictUndefined, "finalize": escaped}
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, **options)
    environment.globals |= WORDS | {"scores": scores, "compared": compared, "table": table}
    head = Markdown(front_matter(known))
    text = environment.from_string(TEMPLATE.read_text())
    text = text.render(known, front_matter=head, picture=PICTURE)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def table(*args: Any) -> Markdown:
    return Markdown(markdown.table(*args))


def scores(metrics: Metrics, intervals: Mapping[str, Mapping[str, tuple]]) -> Markdown:
    """A row a task@space; a metric that none has is left out."""
    shown = [n for n in LISTED if any(own.get(n) is not None for own in metrics.values())]
    rows = []
    for key, own in metrics.items():
        cells = [f"{own['examples']:,}", f"{own['positives']:,}" if "positives" in own else ""]
        for name in shown:
            cell = "" if own.get(name) is None else f"{own[name]:.4f}"
            low, high = intervals.get(key, {}).get(name, ("", ""))
            cells.append(f"{cell} ({low:.4f} to {high:.4f})" if low != "" else cell)
        rows.append((key, *cells))
    return table(("task@space", "rows", "positives", *(NAMES[name] for name in shown)), rows)


def compared(before: Metrics, after: Metrics, names=LISTED, digits: int = 4) -> Markdown:
    """What metrics become, a row a task@space; a metric that none has is left out."""
    cells = {
        key: [pair(own.get(name), after[key].get(name), digits) for name in names]
        for key, own in before.items()
    }
    shown = [i for i, column in enumerate(zip(*cells.values())) if any(column)]
    rows = [(key, *(own[i] for i in shown)) for key, own in cells.items()]
    return table(("task@space", *(NAMES[names[i]] for i in shown)), rows)


def pair(before: float | None, after: float | None, digits: int = 4) -> str:
    """'0.1234 → 0.1230'; '' where neither is defined."""
    if before is None and after is None:
        return ""
    return " → ".join("n/d" if v is None else f"{v:.{digits}f}" for v in (before, after))
