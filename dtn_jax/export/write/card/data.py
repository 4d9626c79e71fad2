"""What a card says of a model's data: rows, fields, tasks, and what follows for its use."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping

from dtn_jax.data.progress import percent
from dtn_jax.data.stages.limits import NOTE, Counts, relations
from dtn_jax.export.scores import SCORE, meanings
from dtn_jax.export.write.card.measured import Measured
from dtn_jax.export.write.card.shares import percents
from dtn_jax.export.write.card.subject import Subject
from dtn_jax.export.write.encoder_files import spec_of
from dtn_jax.export.write.fixed import value_text
from dtn_jax.field import SEVERAL
from dtn_jax.metrics.significance import FEW
from dtn_jax.models.histories.with_histories import ways as pooled_by
from dtn_jax.report.description.overview import cuts_line
from dtn_jax.report.markdown import escaped, table
from dtn_jax.run import Run
from dtn_jax.schema import ALL, Field, Schema

SPLITS = ("train", "validation", "test")


def data(run: Run) -> Iterator[str]:
    prepared, notes = run.data, run.data.notes
    rows: list[tuple[str, str]] = [("data set", run.schema.name)]
    rows.append(("fingerprint", prepared.fingerprint))
    rows += [(f"rows of {split}", f"{prepared.rows[split]:,}") for split in SPLITS]
    if run.config.data.train_share != 1:
        rows.append(("share of train that was used", f"{run.config.data.train_share:g}"))
    if span := days(notes):
        rows.append(("days of the log", " to ".join(span)))
    if told := cuts_line(notes):
        rows.append(("split by time", told))
    if notes.get("read"):
        bad = sum(notes.get("rejected", {}).values())
        rows.append(("rows of the log that were rejected", f"{bad:,} of {notes['read']:,}"))
    if sampled := notes.get("sample_negatives"):
        rates = ", ".join(f"{task} at {rate:g}" for task, rate in sampled.items())
        rows.append(("negatives of train that were sampled", f"{rates}; weights make up for it"))
    for key, text in (notes.get("about") or {}).items():
        rows.append((str(key), str(text)))
    yield table(("", ""), rows, left=2)
    rejected = notes.get("rejected") or {}
    if rejected:
        found = sorted(rejected.items(), key=lambda kv: -kv[1])
        yield table(("rejected because of", "rows"), [(k, f"{n:,}") for k, n in found])


def days(notes: Mapping) -> tuple[str, str] | None:
    """The first and the last day of a log whose rows have times."""
    found = notes.get("days") or {}
    if not isinstance(found, Mapping) or not found.get("dated") or not found.get("rows"):
        return None
    numbers = [day for day, _ in found["rows"]]
    start = datetime.date(1970, 1, 1)
    return tuple(
        (start + datetime.timedelta(days=int(n))).isoformat() for n in (min(numbers), max(numbers))
    )


def fields(model: Subject, run: Run) -> Iterator[str]:
    prepared, facts, cuts = run.data, model.facts, run.data.cut_shares()
    spec, ways = spec_of(prepared), pooled_by(run.config.model.histories, run.schema)
    rules = {field.name: field.rule for field in spec.fields}
    rows = []
    for field in model.schema.fields:
        notes = []
        if field.name in facts.fixed:
            notes.append(f"scored as {value_text(facts.fixed[field.name])}")
            notes += [model.unseen[field.name]] if field.name in model.unseen else []
        if field.name in facts.optional:
            notes.append("optional")
        if field.name in prepared.hash_functions:
            notes.append("hashed")
        if rule := rules.get(field.name):
            notes.append(rule)
        if cut := cuts.get(field.name):
            notes.append(f"{100 * cut:.2g} % of train's values are beyond what it keeps")
        shares = [unknown(run, split, field.name) for split in ("train", "test")]
        way = ways.get(field.name, field.pooling)
        rows.append((field.name, kind(field, way), f"{field.rows:,}", *shares, "; ".join(notes)))
    header = ("field", "kind", "rows of its table", "unknown in train", "unknown in test", "")
    yield table(header, rows, left=2)
    hashed = " Of hashed fields these are the missing ones alone." * bool(prepared.hash_functions)
    yield (
        "Unknown values are missing, or were not seen in train (often enough). They share one row "
        f"of their table.{hashed}"
    )


def kind(field: Field, way: str) -> str:
    """A field's kind, with how many values it has and the way in which they are pooled."""
    more = f", {field.slots} values at most, {way}" if field.kind in SEVERAL else ""
    if field.target:
        more += f", of earlier values of {field.target}"
    if field.beside:
        more = f", {field.slots} values at most, beside those of {field.beside}"
    if field.kind == "vector":
        more = f" of {field.length}"
    if field.table != field.name:
        more += f", table of {field.table}"
    return field.kind + more


def unknown(run: Run, split: str, name: str) -> str:
    """The share of a field's values that are unknown."""
    count = run.data.unknown_values.get(split, {}).get(name)
    total = run.data.kept_values.get(split, {}).get(name, run.data.rows[split])
    if count is None or not total:
        return ""
    (told,) = percents([count / total], 1.0)
    return told


def tasks(model: Subject, run: Run, measured: Measured) -> Iterator[str]:
    rows, means = [], {chosen.task: chosen.meaning for chosen in run.losses}
    for task in model.schema.tasks:
        if task.kind == "binary" and task.name in model.facts.tasks:
            means[task.name] = outputs_are(model, measured)[f"{task.name}@{task.space}"]
    for task in (t for t in model.schema.tasks if t.name in model.facts.tasks):
        spaces = [_space(space) for space in task.spaces]
        upstream = ", ".join(task.upstream) or "none"
        others = ", ".join(spaces[1:]) or "none"
        rows.append((task.name, task.kind, means[task.name], spaces[0], others, upstream))
    header = ("task", "kind", "score", "trained on", "also told of", "reads the predictions of")
    yield table(header, rows, left=6)


def outputs_are(model: Subject, measured: Measured) -> dict[str, str]:
    """{output: a probability, a score that is none, or a prediction, in words}."""
    chosen = {task: choice.calibration for task, choice in measured.choices.items()}
    return meanings(model.schema, model.facts.tasks, model.facts.improper, chosen)


def _space(space: str) -> str:
    return "all rows" if space == ALL else f"rows with {space}"


def limits(model: Subject, run: Run, measured: Measured) -> Iterator[str]:
    """What the model was not tried on, as far as its data tell. Plain text of Markdown."""
    if run.config.data.dataset == "logs" or run.schema.group:  # else nobody was shown its rows
        yield (
            "Trained and tested on rows that were logged, shown by whatever ranked them then. Of "
            "items that were never shown it says nothing that was tested."
        )
    if span := days(run.data.notes):
        yield f"Its rows are of {span[0]} to {span[1]}; it was not tried on any later day."
    else:
        yield "Its test rows are of the time of its train rows, or their time is not known."
    often = [
        (field.name, count / max(run.data.rows["test"], 1))
        for field in model.schema.fields
        if (count := run.data.unknown_values.get("test", {}).get(field.name, 0))
        and field.kind == "categorical"
    ]
    often.sort(key=lambda pair: -pair[1])
    told = ", ".join(f"{escaped(name)} {100 * share:.2g} %" for name, share in often[:5])
    yield (
        "A value that train has not shown is the unknown id: the model knows nothing else of it"
        + (f" (of test's values: {told})." if told else ".")
    )
    for name, fixed in model.facts.fixed.items():
        yield (
            f"It scores each row as if {escaped(name)} were {escaped(value_text(fixed))}: its "
            "probabilities are those of that case, not of the row as it will be shown."
            + (f" Mind: {model.unseen[name]}." if name in model.unseen else "")
        )
    few = [
        key
        for key, found in measured.calibrated["test"].items()
        if found.get("positives") is not None
        and min(found["positives"], found["examples"] - found["positives"]) < FEW
    ]
    if few:
        names = ", ".join(escaped(key) for key in few)
        yield f"Fewer than {FEW} rows of a class in test: hardly anything is told of {names}."
    for key, meaning in outputs_are(model, measured).items():
        if meaning.startswith(SCORE):
            yield f"{escaped(key)} is a {escaped(meaning)}: it ranks rows, and tells no rate."
    if any(len(task.spaces) > 1 for task in model.schema.tasks):
        yield (
            "In a space other than that of its loss a task's probability is a product or quotient "
            "of the model's probabilities, and calibrated as far as those are."
        )
    yield from outside(model.schema, run.data.notes.get(NOTE, {}))


def outside(schema: Schema, counts: Counts) -> Iterator[str]:
    """Which tasks are taken to happen only where others do, and how many positives do not; {} of a
    set that has not counted them."""
    for relation in relations(schema.tasks):
        count, known = relation.outside(counts)
        task, other = escaped(relation.task), escaped(relation.other)
        share = f"{count:,.0f} of its {known:,.0f} positives ({percent(count, known)})"
        told = f"In the log {share} are on rows where {other} is 0"
        if relation.assumed:
            yield (
                f"{task} is taken to happen only where {other} does: otherwise p({task} | {other}) "
                f"= p({task}) / p({other}) is wrong. "
                + (f"{told}." if counts else "How often it does not was not counted.")
            )
        elif count:
            yield f"{task} was trained where {other} is 1. {told}: it has not learnt from them."
