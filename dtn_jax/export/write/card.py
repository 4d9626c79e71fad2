"""README.md, the model card: what a model is, on what it was measured, and its limits.

Its template is card.md, whose front matter is what model hubs read
(huggingface.co/docs/hub/model-cards); its numbers are card/measured.json, by the model's own
program on the prepared validation and test rows. Calibrations are fitted and chosen on validation.
Test is read once, to be reported. Both have the values that were logged, also of fields that only
training knows.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import jinja2
import numpy as np
from markupsafe import Markup

from dtn_jax import errors
from dtn_jax.data.epochs.reader import in_order
from dtn_jax.data.schemas.spec import Spec
from dtn_jax.errors import UserError
from dtn_jax.export import calibration, model_folder
from dtn_jax.export.calibration import SCORE, meanings
from dtn_jax.export.calibration import scores as outputs_of
from dtn_jax.export.fit_calibration import Choice
from dtn_jax.export.model import EMBEDDING, SCALE, Batches
from dtn_jax.export.model_folder import Facts
from dtn_jax.export.ranking import Ranking
from dtn_jax.export.write.program import Forward
from dtn_jax.interface import Batch
from dtn_jax.metrics import METRICS, Value
from dtn_jax.metrics.gains import gains_of, labels_of
from dtn_jax.metrics.scores import Scores
from dtn_jax.report import markdown
from dtn_jax.run.evaluate import evaluate, with_logits
from dtn_jax.run.run import Run
from dtn_jax.schema import ALL, MEAN, Schema

TEMPLATE = pathlib.Path(__file__).with_name("card.md")
MEASURED = "card/measured.json"
LISTED = ("auc", "gauc", "logloss", "ece", "predicted_observed", "rmse", "xauc")
WORDS = {name: getattr(errors, name) for name in ("TO_SCORE", "THIS_ALONE", "WHOLE")}
WORDS |= {"SCORE": SCORE, "MEAN": MEAN, "ALL": ALL}
WORDS["NAMES"] = {name: METRICS[name].title for name in LISTED} | {"ece": "ECE"}
Metrics = dict[str, dict[str, Value]]  # {task@space: {metric: value}}


@dataclasses.dataclass(frozen=True)
class Export:
    """A model that is being written.

    Attributes:
      folder: of the model.
      run: that it is made of.
      spec: the schema file of its data.
      schema: of the tasks that its program gives.
      facts: what config.json says.
      forward: the program.
      ranked: its ranking score, if it gives one.
    """

    folder: pathlib.Path
    run: Run
    spec: Spec
    schema: Schema
    facts: Facts
    forward: Forward
    ranked: Ranking | None = None


def split_scores(export: Export, split: str) -> Scores:
    """The logits of a model, uncalibrated, beside the labels of a split of its data.

    The folder's program and weights are enough. Fields that have a fixed value in the model have
    their own here.
    """
    run = export.run
    program = Batches.open(export.folder, export.facts, {})

    def call(batch: Batch) -> jax.Array:
        return program.call(batch.ids, batch.weights, batch.numeric)

    batches = in_order(run.data, split, run.config.data.eval_batch_size)
    columns = [run.schema.task_names.index(name) for name in export.schema.task_names]
    parts = [
        (logits, batch.labels[:, columns], batch.label_mask[:, columns], batch.sample_weight)
        for batch, logits in with_logits(batches, call)
    ]
    arrays = (np.concatenate(part)[: run.data.rows[split]] for part in zip(*parts))
    return Scores(*arrays, group=run.groups(split))


def metrics_of(export: Export, scores: Scores) -> Metrics:
    """The metrics of the tasks that a model gives, by the options of its run."""
    options = export.run.config.evaluate
    metrics = evaluate(scores, export.schema, options.ece_bins, options.sample_weights)
    return {
        key: values
        for key, values in metrics.items()
        if key.partition("@")[0] in export.facts.tasks
    }


def measure(export: Export, validation: Scores, choices: Mapping[str, Choice]) -> dict[str, Any]:
    """Reads test, and says what both splits are scored like.

    Args:
      export: the model.
      validation: its scores, not calibrated.
      choices: {task: how it is calibrated}, by validation.

    Returns:
      `calibration`, the choices; `uncalibrated` and `calibrated`, each the metrics of validation
      and test; and `rank`, see `rank_metrics`.
    """
    chosen = {task: choice.calibration for task, choice in choices.items()}
    before = {"validation": validation, "test": split_scores(export, "test")}
    after = {
        split: dataclasses.replace(s, logits=calibration.apply(chosen, s.logits, export.schema))
        for split, s in before.items()
    }
    return {
        "calibration": {task: dataclasses.asdict(choice) for task, choice in choices.items()},
        "uncalibrated": {split: metrics_of(export, scores) for split, scores in before.items()},
        "calibrated": {split: metrics_of(export, scores) for split, scores in after.items()},
        "rank": rank_metrics(export, after) if export.ranked else {},
    }


def rank_metrics(export: Export, after: Mapping[str, Scores]) -> dict[str, Any]:
    """How the ranking score orders rows of test by its gain and by each task.

    Returns:
      `expression`; `metrics`, {metric: its title}; and `test`, {gain or task: {metric: value}}. A
      task with labels below 0 is left out.

    Raises:
      UserError: it is not finite in a row of either split.
    """
    ranked, weighted = export.ranked, export.run.config.evaluate.sample_weights
    for split, scores in after.items():
        rank = ranked.score(outputs_of(scores.logits, export.schema, export.facts.tasks, {}))
        if bad := np.count_nonzero(np.isnan(rank)):
            raise UserError(
                f"--rank {ranked.text!r} is not finite in {bad:,} of {rank.size:,} rows of "
                f"{split}: bound what it reads, such as by max(x, 0.01)"
            )
    labels, ranks = labels_of(scores, export.schema), {}
    worth = {name: gain.score(labels) for name, gain in ranked.gains.items()}
    worth |= {name: labels[name] for name in export.facts.tasks}
    for name, gains in gains_of(worth, scores.group, scores.sample_weight if weighted else None):
        known = gains.influences(rank[gains.places])
        ranks[name] = {m: one.value for m, one in known.items() if np.isfinite(one.value)}
    titles = {name: METRICS[name].title for values in ranks.values() for name in values}
    return {"expression": ranked.text, "metrics": titles, "test": ranks}


def write_card(export: Export, measured: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Writes README.md and card/measured.json.

    Args:
      export: the model; all that scores rows is written.
      measured: as of `measure`.
      manifest: what the manifest says beside the files.
    """
    run, schema, model = export.run, export.schema, export.facts
    chosen = {task: row["calibration"] for task, row in measured["calibration"].items()}
    test = measured["calibrated"]["test"]
    shapes = export.forward.weights()
    sizes = {name: math.prod(shapes[name].shape) for name in shapes if not name.endswith(SCALE)}
    embedding = sizes.pop(EMBEDDING)
    text = page(
        run=run,
        schema=schema,
        model=model,
        notes=run.data.notes,
        spec=export.spec,
        manifest=manifest,
        outputs=meanings(schema, model.tasks, model.improper, chosen),
        tasks=[task for task in schema.tasks if task.name in model.tasks],
        listed=[n for n in LISTED if any(row.get(n) is not None for row in test.values())],
        parameters=sum(size for name, size in sizes.items() if "model_state/" not in name),
        embedding_parameters=embedding,
        **measured,
    )
    (export.folder / MEASURED).parent.mkdir()
    (export.folder / MEASURED).write_text(json.dumps(measured, indent=1, allow_nan=False))
    (export.folder / model_folder.CARD).write_text(text)


def page(**known: Any) -> str:
    """The text of a card, from what the template names."""

    def escaped(value: Any) -> str:
        """Any value as plain text of Markdown, in a cell of a table too; what is Markup stays."""
        text = str(value)
        return text if isinstance(value, Markup) else markdown.escaped(text).replace("|", r"\|")

    options = {"undefined": jinja2.StrictUndefined, "finalize": escaped}
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, **options)
    template = environment.from_string(TEMPLATE.read_text(), WORDS | {"pair": pair})
    return re.sub(r"\n{3,}", "\n\n", template.render(known)).strip() + "\n"


def pair(before: float | None, after: float | None) -> str:
    """'0.1234 → 0.1230'; one number where they are the same; '' where neither is defined."""
    ends = ["n/d" if value is None else f"{value:.4f}" for value in (before, after)]
    return "" if ends == ["n/d"] * 2 else " → ".join(dict.fromkeys(ends))
