"""card.md: what a model is, on what it was measured, and its limits, for whoever is to use it.

Its numbers stand in card/measured.json, its pictures beside that file.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping

from dtn_jax.errors import THIS_ALONE, TO_SCORE, WHOLE
from dtn_jax.export import model_folder
from dtn_jax.export.scores import outputs
from dtn_jax.export.write import described
from dtn_jax.export.write.card import data, pictures, scores
from dtn_jax.export.write.card.calibration import calibration
from dtn_jax.export.write.card.measured import Measured
from dtn_jax.export.write.card.subject import Subject
from dtn_jax.export.write.encoder_files import weight_of
from dtn_jax.export.write.fixed import unseen
from dtn_jax.export.write.size import Size
from dtn_jax.report.markdown import escaped, table
from dtn_jax.run import Run
from dtn_jax.schema import MEAN

PICTURE = "calibration.png"
LOAD = f"""In Python, in a new virtual environment, without the training code:

```
{TO_SCORE}
{THIS_ALONE}  # in a clone of dtn_jax
```

```python
import dtn_jax.export

model = dtn_jax.export.load("MODEL")  # this folder
model.columns  # what a row must have
model.score([{{...}}, {{...}}])  # a polars table, a column an output
```

By commands, with the full installation (`{WHOLE}`, to serve `pip install -e '.[serve]'`):

```
dtn-jax score --model=MODEL --input=rows.parquet --output=scores.parquet
dtn-jax serve --model=MODEL
```"""


def write(
    folder: pathlib.Path,
    run: Run,
    size: Size,
    measured: Measured,
    manifest: Mapping,
    stored: Mapping,
) -> None:
    """Writes card.md and card/.

    Args:
      folder: of the model; all that scores rows is written.
      run: that it is of.
      size: of the model.
      measured: its scores.
      manifest: what the manifest says beside the files.
      stored: what another dtype of the tables changes, as `described.measured` has it; {} where
        they are as trained.
    """
    facts, schema = model_folder.read_facts(folder), model_folder.read_schema(folder)
    model = Subject(
        schema,
        facts,
        manifest,
        outputs(schema, facts.tasks),
        size,
        unseen(run, facts.fixed),
        stored,
    )
    beside = folder / described.MEASURED
    beside.parent.mkdir(exist_ok=True)
    pictures.calibration(measured, schema, beside.parent / PICTURE)
    found = {
        **stored,
        "calibration": {t: dataclasses.asdict(c) for t, c in measured.choices.items()},
        "uncalibrated": measured.uncalibrated,
        "calibrated": measured.calibrated,
        "test_intervals": measured.intervals,
        "test_with_fixed_values": measured.fixed,
    }
    beside.write_text(json.dumps(found, indent=1, allow_nan=False))
    text = "\n\n".join(sections(model, run, measured))
    (folder / model_folder.CARD).write_text(text + "\n")


def sections(model: Subject, run: Run, measured: Measured) -> Iterator[str]:
    """The card, part by part."""
    tasks = ", ".join(escaped(name) for name in model.facts.tasks)
    yield f"# {escaped(run.config.model.architecture)} on {escaped(model.schema.name)}"
    yield f"A model that scores {tasks}. Made on {escaped(str(model.manifest['made']))}."
    yield "## What it is"
    yield table(("", ""), list(architecture(model, run)), left=2)
    yield "## Data"
    yield from data.data(run)
    yield "### Fields"
    yield from data.fields(model, run)
    yield "### Tasks"
    yield from data.tasks(model, run, measured)
    logged = ", as logged" * bool(model.facts.fixed)
    yield f"## Scores on test{logged}"
    yield from scores.test(measured, run, model)
    yield f"## Scores on validation{logged}"
    yield from scores.validation(measured, model)
    yield "## Calibration"
    yield from calibration(measured, model.schema)
    yield from scores.fixed(model, measured)
    yield "## Limits"
    yield "\n".join(f"- {line}" for line in data.limits(model, run, measured))
    yield "## How to load it"
    yield LOAD
    yield "## Versions"
    versions = [(name, str(version)) for name, version in model.manifest["versions"].items()]
    yield table(("package", "version"), versions, left=2)


def architecture(model: Subject, run: Run) -> Iterator[tuple[str, str]]:
    config, facts, size = run.config, model.facts, model.size
    yield "architecture", config.model.architecture
    yield "experts", str(config.model.experts)
    yield "outputs", ", ".join(model.outputs)
    yield "dense parameters", f"{size.dense:,}"
    yield "embedding parameters", f"{size.embedding:,} ({facts.rows:,} rows)"
    yield "tables stored as", facts.table_dtype
    yield "forward FLOPs an example", f"{size.flops:,}"
    seeds = "; ".join(f"seed {own['seed']} at step {own['step']}" for own in facts.members)
    mean = "the mean probability of " if len(facts.members) > 1 else ""
    yield "runs", f"{mean}{seeds}"
    by = facts.members[0]["selected_by"]
    told = "the best state on validation by the mean of the tasks' metrics"
    yield "state", told if by == MEAN else f"the best state on validation for {by}"
    if run.config.plugins:
        names = ", ".join(str(own["name"]) for own in model.manifest.get("plugins") or ())
        yield "plug-ins", names
    if told := row_weights(run):
        yield "weights of rows", told
    weights = config.loss.positive_weights
    told = f"{weights}; the loss corrects for them, so probabilities stay those of the log"
    yield "weights of positives in training", told if weights else "none"
    yield "all options", "model.json, under config"


def row_weights(run: Run) -> str:
    """By which columns rows count, and where."""
    metrics, loss = run.config.evaluate.sample_weights, run.config.loss.sample_weights
    told = []
    if column := weight_of(run.data):
        where = ["the loss"] * loss + ["metrics", "calibration"] * metrics
        told.append(f"{column}, in {', '.join(where)}" if where else f"{column}, not used")
    if run.schema.loss_weight and loss:
        told.append(f"{run.schema.loss_weight}, in the loss alone")
    return "; ".join(told)
