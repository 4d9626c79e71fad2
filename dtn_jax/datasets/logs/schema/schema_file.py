"""A schema file (YAML or JSON) is read into a Spec; every error names its file and line.

    name: shop
    fields:
      user_id: {min_count: 2}
      hour: {value: hour(t)}
    tasks:
      click:
      long_view: {label: watch_seconds > 30, upstream: [click]}
    group: user_id
    time: t

`help_text()` lists every key with its meaning and default. Each scalar is the text that stands
there: a task may be called `no` and a column `on`, 007 keeps its zeros as a text, and 12:30 is no
number. Numbers are 30, 0.1, 1e6 or 1_000; true and false may be yes and no.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import pathlib
import re
from typing import Any

from dtn_jax.datasets.logs.formula import FUNCTIONS, Expression
from dtn_jax.datasets.logs.schema import checks, keys, parts, yaml_lines
from dtn_jax.datasets.logs.schema.fields import field
from dtn_jax.datasets.logs.schema.forms import Key
from dtn_jax.datasets.logs.schema.spec import FieldSpec, InputSpec, Spec
from dtn_jax.datasets.logs.schema.split import split
from dtn_jax.errors import UserError
from dtn_jax.field import SCALED

# Younger keys: no part of the meaning where they have this default.
SINCE = {
    "keep": "first",
    "scored_as": (),
    "optional": False,
    "embedding": SCALED,
    "bins": 0,
    "target": "",
    "history": None,
    "beside": "",
    "gap": False,
    "loss_weight": "",
}
# What decides neither rows nor labels; positives_outside decides whether there is a set at all.
NO_MEANING = ("line", "path", "about", "positives_outside")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # it is a folder's, too


def load(path: str | pathlib.Path) -> Spec:
    """Reads a schema file.

    Raises:
      UserError: there is no such file, or what it says makes no sense, with file, line, what was
        got and expected.
    """
    file = pathlib.Path(path).expanduser()
    if not file.exists():
        beside = [p for p in file.parent.glob("*") if p.suffix in (".yaml", ".yml", ".json")]
        names = sorted(p.name for p in beside)
        near = difflib.get_close_matches(file.name, names, n=1, cutoff=0) if names else []
        hint = f"; did you mean {file.with_name(near[0])}?" if near else ""
        raise UserError(f"there is no schema file {str(path)!r}{hint}")
    return read(yaml_lines.load(str(file)))


def loads(text: str, path: str = "schema.yaml") -> Spec:
    """Reads a schema file's text; `path` is its name in messages. Raises as `load`."""
    return read(yaml_lines.loads(text, path))


def read(root: yaml_lines.Node) -> Spec:
    """A checked Spec from a schema file's tree; raises UserError with the file and the line."""
    given = parts.options(root, keys.FILE, "the schema file")
    for key in ("fields", "tasks"):
        if key not in given or not given[key].value:
            raise root.error(f"a schema file needs {key}, at least one: {key}: {{name: …}}")
    name = given.get("name", pathlib.Path(root.path).stem)
    if not NAME.fullmatch(name):
        place = root.value.get("name", root)
        raise place.error(
            f"the name {name!r} of the data set names a folder: expected letters, digits, '_' and "
            "'-'"
        )
    time, unit = parts.time_column(given["time"]) if "time" in given else ("", "")
    group = given.get("group", "")
    tasks = tuple(
        parts.task(n, node, time, unit) for n, node in parts.named(given["tasks"], "task")
    )
    fields = tuple(
        field(n, node, time, unit, group) for n, node in parts.named(given["fields"], "field")
    )
    fields = checks.with_histories(checks.with_targets(fields, root), root)
    sampled = given.get("sample_negatives")
    about = given.get("about")
    spec = Spec(
        name=name,
        fields=fields,
        tasks=tasks,
        split=split(given.get("split"), time, unit, group),
        time=time,
        time_unit=unit,
        group=group,
        weight=given.get("weight", ""),
        loss_weight=given.get("loss_weight", ""),
        sample_negatives=checks.rates(sampled, tasks) if sampled else {},
        input=parts.input_(given["input"]) if "input" in given else InputSpec(),
        about=parts.options(about, keys.ABOUT, "about") if about else {},
        path=root.path,
    )
    checks.check(spec, root)
    return spec


def timed(spec: Spec, unit: str) -> Spec:
    """The same schema once the unit of its time column is known, one of TIME_UNITS."""

    def known(expression: Expression | None) -> Expression | None:
        return expression and expression.timed(spec.time, unit)

    def of(field: FieldSpec) -> FieldSpec:
        history = field.history
        history = history and dataclasses.replace(history, where=known(history.where))
        return dataclasses.replace(field, value=known(field.value), history=history)

    fields = tuple(map(of, spec.fields))
    tasks = tuple(
        dataclasses.replace(t, label=known(t.label), known=known(t.known)) for t in spec.tasks
    )
    return dataclasses.replace(spec, fields=fields, tasks=tasks, time_unit=unit)


def fingerprint(spec: Spec) -> str:
    """SHA-256 of what a schema file means for a prepared set, as hex digits."""
    text = json.dumps(meaning(spec), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def meaning(spec: Spec) -> dict[str, Any]:
    """What a schema file means for a prepared set, as JSON has it.

    Comments, lines, the file's path, the order of keys, the spacing of expressions, texts about
    the set and `positives_outside` do not count; the order of fields and of tasks does.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, Expression):
            return value.meaning
        if dataclasses.is_dataclass(value):
            names = [f.name for f in dataclasses.fields(value)]
            told = {n: getattr(value, n) for n in names if n not in NO_MEANING}
            return {n: plain(v) for n, v in told.items() if n not in SINCE or v != SINCE[n]}
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        if isinstance(value, tuple | list):
            return [plain(inner) for inner in value]
        return value

    return plain(spec)


def help_text() -> str:
    """Every key of a schema file, with its form, meaning and default."""
    lines = []
    for section, known in keys.SECTIONS.items():
        lines += [f"Keys of {section}", *(_described(name, key) for name, key in known.items()), ""]
    lines += ["Columns that every log has", "  _file            the name of the row's file", ""]
    lines.append("Functions of expressions, in UTC where times are")
    lines += [f"  {name:17s}{function.help}" for name, function in FUNCTIONS.items()]
    return "\n".join(lines)


def _described(name: str, key: Key) -> str:
    notes = []
    if key.words:
        notes.append(" | ".join(key.words))
    if key.only:
        notes.append(f"for {', '.join(key.only)}")
    if key.default:
        notes.append(f"default: {key.default}")
    told = f" ({'; '.join(notes)})" if notes else ""
    return f"  {name:17s}{key.form}: {key.help}{told}"
