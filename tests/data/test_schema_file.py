"""What a schema file says, however it is written; what makes no sense is refused with its line. A
run on logs belongs to what its schema file means, not to where that file lies."""

import json
import pathlib
import re
import shutil

import pytest
import yaml
from damaged_bytes import DAMAGE, damaged
from hypothesis import given, settings
from hypothesis import strategies as st
from world.log import SCHEMA, schema_file, shared

from dtn_jax.config import differing, identity, load_config, override
from dtn_jax.data.schemas import key_models as keys
from dtn_jax.data.schemas import named_schema
from dtn_jax.data.schemas.schema_file import fingerprint, load, loads
from dtn_jax.data.schemas.spec import InputSpec, SplitSpec
from dtn_jax.data.sets import catalog
from dtn_jax.errors import UserError
from dtn_jax.export.encoding import spec_json
from dtn_jax.run.run import build_run

WHOLE = """\
name: shop                       # default: the file's name
fields:
  user_id: {min_count: 2, role: prior}
  item: {column: item_id, table: item, min_count: 2, unknown: [0, no, 12:30], tokens: what}
  hour: {value: hour(t), role: scenario}
  seen: {kind: bag, table: item, min_count: 2, max_values: 20, pooling: mean, weights: seen_weights}
  price: {kind: numeric, log: true, encoder: buckets, buckets: 64}
  embedding: {kind: vector, length: 64}
  user_x_item: {cross: [user_id, item], encoder: hash, size: 1e6, functions: 2}
  "old-tags": {kind: bag, encoder: hash, size: 1_000, longest: 500}
  viewed: {kind: sequence, target: item, max_values: 9, longest: 30}
  acts: {beside: viewed, column: act}
  position: {scored_as: null, optional: true}
tasks:
  click: {positives_outside: 0.05}
  long_view: {label: watch_seconds > 30, upstream: [click], also_report: [click]}
  order: {space: click}
  watch: {kind: regression, label: log1p(watch_seconds), range: [0, 12], known: click == 1}
group: user_id
time: {column: t, unit: ms}
weight: w
split: {by: time, validation: 2026-03-05, test: 2026-03-08 12:00}
sample_negatives: {click: 0.1}
input: {format: csv, separator: "\\t", columns: [a, b], missing: ["NULL", null]}
about: {citation: Someone 2026, licence: CC BY 4.0, home: https://example.org}
"""

SMALL = """\
fields:
  user: {}
  item: {kind: categorical}
tasks:
  click:
  order: {space: click}
"""


def spoiled(field="", task="", more=""):
    """SMALL with a field, a task or further lines; the field stands in line 4, the task in line 7,
    the further lines from line 7 on."""
    lines = SMALL.splitlines()
    if task:
        lines.append(f"  {task}")
    if more:
        lines.append(more)
    if field:
        lines.insert(3, f"  {field}")
    return "\n".join(lines) + "\n"


def test_every_key():
    golden = pathlib.Path(__file__).parent / "golden" / "whole_schema.json"
    assert json.loads(spec_json(loads(WHOLE, "other.yaml"))) == json.loads(golden.read_text())


def test_the_help_lists_every_key():
    for section, block in zip(keys.SECTIONS, keys.help_text().split("\n\n")):
        listed = re.findall(r"^  (\w+) +\S.*: \S", block, re.MULTILINE)
        assert sorted(listed) == sorted(section.model_fields), section


def test_defaults():
    spec = loads(SMALL, "folder/my-shop.yaml")
    assert spec.name == "my-shop"
    assert spec.split == SplitSpec(by="random")
    assert (spec.time, spec.group, spec.weight, spec.time_unit) == ("", "", "", "")
    assert spec.input == InputSpec()
    assert loads(SMALL + "time: t\n").split == SplitSpec(by="time")


def test_json_says_the_same():
    values = yaml.safe_load(SMALL)
    for indent in (None, 1, "\t"):
        spec = loads(json.dumps(values, indent=indent), "shop.json")
        assert spec.fields[1].name == "item"
        assert fingerprint(spec) == fingerprint(loads(SMALL, "shop.yaml"))


def test_lists_of_names_and_anchors():
    """A tag means nothing: what it names is not built."""
    spec = loads("fields: [user, item]\ntasks: !!python/object:os.system\n- &a click\n- order\n")
    assert [(f.name, f.line) for f in spec.fields] == [("user", 1), ("item", 1)]
    assert [(t.name, t.line) for t in spec.tasks] == [("click", 3), ("order", 4)]


def test_words_that_yaml_makes_values_of_are_words():
    text = """\
fields:
  on: {column: off}
  1_000: {unknown: [1_000, 010, 0x1F, 1e3, 2026-03-05, 12:30, null, ~, true, .inf, "" ]}
  null: {}
tasks:
  no:
  y: {label: "`yes` > 3"}
group: "007"
"""
    spec = loads(text)
    assert [f.name for f in spec.fields] == ["on", "1_000", "null"]
    assert spec.fields[0].value.columns == ("off",)
    assert spec.fields[1].unknown == (
        *("1_000", "010", "0x1F", "1e3", "2026-03-05", "12:30"),
        *("null", "~", "true", ".inf", ""),
    )
    assert [t.name for t in spec.tasks] == ["no", "y"]
    assert spec.group == "007"


def test_numbers_and_truths():
    for text in ("1000", "1e3", "1_000", "1000.0", '"1000"'):
        spec = loads(spoiled(field=f"x: {{encoder: hash, size: {text}}}"))
        assert spec.fields[2].size == 1000
    for word, value in (("true", True), ("False", False), ("yes", True)):
        assert loads(spoiled(field=f"x: {{kind: numeric, log: {word}}}")).fields[2].log is value


COLUMN = "split: {by: column, column: c, "
FOLDS = {"train": ("1", "2"), "validation": ("3",), "test": ("4",)}
SPLITS = [
    ("split: random", {"by": "random"}),
    ("split: {by: group, seed: 3}\ngroup: u", {"by": "group", "seed": 3}),
    ("split: {by: user_order, test: 2}\ngroup: u\ntime: t", {"by": "user_order", "test": 2.0}),
    ("split: {validation: 1, test: 2}\ntime: t", {"by": "time", "validation": "1", "test": "2"}),
    (COLUMN + "values: {train: [1, 2], validation: 3, test: 4}}", {"values": FOLDS}),
    (COLUMN + "validation: 0.2}", {"values": {"train": ("train",), "test": ("test",)}}),
    (COLUMN + "validation: 0.2}", {"by": "column", "validation": 0.2}),
]


@pytest.mark.parametrize(("more", "expected"), SPLITS)
def test_splits(more, expected):
    found = loads(spoiled(more=more)).split
    assert {key: getattr(found, key) for key in expected} == expected


def test_null_is_as_good_as_nothing():
    spec = loads(spoiled(field="x: {table: null, encoder: ~}", more="weight: null"))
    assert (spec.fields[2].table, spec.fields[2].encoder, spec.weight) == ("x", "vocabulary", "")


def test_the_group_and_the_time_may_be_fields():
    spec = loads(spoiled(field="hour: {value: hour(t)}", more="group: user\ntime: t"))
    assert (spec.group, spec.fields[2].value.time) == ("user", "t")


def print_of(text, path="shop.yaml"):
    return fingerprint(loads(text, path))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("fields:\n", "# a comment\n\nfields:\n"),
        ("buckets: 64}", "buckets: 64, min_count: null}"),
        ("column: item_id, table: item", "table: item, column: item_id"),
        ("watch_seconds > 30", "'(watch_seconds)>30'"),
        ("table: item, min_count: 2, unknown", "kind: categorical, min_count: 2, unknown"),
        ("Someone 2026", "Someone else 2026"),
        ("log: true", "log: yes"),
        ("max_values: 20", "max_values: 20, keep: first"),
        ("positives_outside: 0.05", "positives_outside: 0.5"),
        ("role: scenario", "role: prior"),
    ],
)
def test_the_same_meaning(old, new):
    assert old in WHOLE
    assert print_of(WHOLE.replace(old, new)) == print_of(WHOLE, "elsewhere/shop.yaml")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("watch_seconds > 30", "watch_seconds >= 30"),
        ("2026-03-08 12:00", "2026-03-09"),
        ("click: 0.1", "click: 0.2"),
        ("unit: ms", "unit: us"),
        ("max_values: 20", "max_values: 20, keep: last"),
        ("[0, no, 12:30]", "[0, no]"),
        ('missing: ["NULL", null]', 'missing: ["NULL"]'),
        ("name: shop ", "name: store "),
    ],
)
def test_another_meaning(old, new):
    """More are in test_prepare_again.py."""
    assert old in WHOLE
    assert print_of(WHOLE.replace(old, new)) != print_of(WHOLE)


def test_the_order_of_fields_and_of_tasks_counts():
    text = "fields: [a, b]\ntasks: [c, d]\n"
    for names in (("[a, b]", "[b, a]"), ("[c, d]", "[d, c]")):
        assert print_of(text.replace(*names)) != print_of(text)


def test_it_does_not_change_between_versions():
    """A prepared set is made anew when it does: change this only for a reason."""
    small = "ab3db938205b220e97acb1b1189e2042fd239c3f27bdff97625a6ac06d49c4f7"
    assert (
        print_of(SMALL) == print_of(SMALL.replace("user: {}", "user: {optional: false}")) == small
    )
    assert print_of(SMALL.replace("user: {}", "user: {scored_as: 7}")) != small
    number = spoiled("x: {kind: numeric, encoder: standardise}")
    for more, stays in (("embedding: scaled", True), ("bins: 4", False)):
        other = number.replace("standardise}", f"standardise, {more}}}")
        assert (print_of(other) == print_of(number)) == stays


# Schema files that make no sense: each is refused with file, line and what would; damage to.


def refused(text):
    with pytest.raises(UserError) as caught:
        loads(text, "shop.yaml")
    return str(caught.value)


HISTORY = "h: {kind: sequence, target: item, max_values: 7, keep: first, longest: 9}\n  "
WHOLES = {  # {what makes no sense: a file that has it}
    "a field": lambda text: spoiled(field=text),
    "a companion": lambda text: spoiled(field=HISTORY + text),
    "a field of a log with times": lambda text: spoiled(field=text, more="time: t"),
    "a history": lambda text: spoiled(field=text, more="time: t\ngroup: user"),
    "a task": lambda text: spoiled(task=text),
    "the file": lambda text: spoiled(more=text),
    "the split of a log with times and groups": lambda text: spoiled(
        more=f"split: {text}\ntime: t\ngroup: g"
    ),
}


def cases():
    """(what has it, the text, how the message begins), of refused_schemas.txt."""
    table = (pathlib.Path(__file__).parent / "refused_schemas.txt").read_text()
    for section in table.split("\n[")[1:]:
        kind, _, rows = section.partition("]\n")
        for text, start in re.findall(r"^(\S.*)\n    (.*)", rows, re.MULTILINE):
            yield pytest.param(kind, text.replace("\\n", "\n"), start, id=text)


@pytest.mark.parametrize(("kind", "text", "start"), list(cases()))
def test_what_makes_no_sense(kind, text, start):
    """The message names the line of the field, the task or the key."""
    whole = WHOLES[kind](text)
    message, lines = refused(whole), whole.splitlines()
    place, _, rest = message.partition(": ")
    name, _, line = place.partition(", line ")
    first = next(n for n, own in enumerate(lines, 1) if text.splitlines()[0] in own)
    assert name == "shop.yaml"
    assert first <= int(line) <= first + text.count("\n"), message
    assert rest.startswith(start), message


TASK, FIELD = "tasks: [click]\n", "fields: [user]\n"
SHAPES = [  # text, line, what the message says
    ("fields: [a\ntasks: [b]\n", 2, "cannot be read as YAML: "),
    ("fields: {a: {}\n", 2, "cannot be read as YAML: "),
    ("a: 'b\n", 2, "cannot be read as YAML: "),
    ("a: b: c\n", 1, "cannot be read as YAML: "),
    ('{"fields": ["a"],\n"tasks": ["b"]', 2, "cannot be read as YAML: "),
    ("fields:\n\tuser: {}\n", 2, "a tab cannot indent; expected spaces"),
    ("- a\n- b\n", 1, "expected keys and values, of name, fields, tasks"),
    ("just a text\n", 1, "expected keys and values"),
    (SMALL + "---\na: b\n", 7, "expected a single document"),
    (FIELD + "tasks: *all\n", 2, "undefined alias 'all'"),
    (FIELD + TASK + "name: a\nname: b\n", 4, "the key 'name' is given twice, first in line 3"),
    (spoiled(field="user: {}"), 4, "the key 'user' is given twice, first in line 2"),
    ('{"fields": ["a"],\n"tasks": ["b"],\n"tasks": ["c"]}', 3, "'tasks' is given twice"),
    (spoiled(field="[a, b]: {}"), 4, "a key must be a text, got a list"),
    (spoiled(field="? {a: b}\n  : {}"), 4, "a key must be a text, got a mapping"),
    (spoiled(field="x: {<<: {kind: bag}}"), 4, "unknown key '<<'"),
    (spoiled(field='"": {}'), 4, "field '': expected a text, got ''"),
    (spoiled(field="x: bag"), 4, "field 'x': expected keys and values, of kind"),
    (spoiled(field="x: {name: y}"), 4, "of field 'x': unknown key 'name'"),
    ("fields: user\n" + TASK, 1, "at least one, as {name: options} or in a list"),
    ("fields: [a, b,\n a]\n" + TASK, 2, "fields: 'a' is listed twice"),
    ("fields:\n- {kind: bag}\n" + TASK, 2, "fields: a mapping is no name"),
    ("\n" + FIELD, 2, "the schema file: expected a key 'tasks'"),
    ("fields:\n" + TASK, 1, "fields: expected at least one"),
    ("feilds: [a]\n" + TASK, 1, "'feilds'. Did you mean 'fields'?"),
    (SMALL + "grup: user\n", 7, "'grup'. Did you mean 'group'?"),
    (SMALL + "group: [user]\n", 7, "group: expected a text, got a list"),
    (SMALL + "name: ../up\n", 7, "expected letters, digits, '_' and '-'"),
    (spoiled(task="x: {label: user > 3}"), 2, "'user': it reads 'user', a column of the label"),
    (spoiled(task="w: {kind: regression}", more="sample_negatives: {w: 0.5}"), 8, "a regression"),
]


@pytest.mark.parametrize(("text", "line", "part"), SHAPES)
def test_wrong_shapes(text, line, part):
    message = refused(text)
    assert message.startswith(f"shop.yaml, line {line}: "), message
    assert part in message
    assert "\n" not in message


def test_files_that_cannot_be_read(tmp_path):
    for text in ("", "# nothing\n"):
        assert refused(text) == "shop.yaml is empty"
    path = tmp_path / "shop.yaml"
    with pytest.raises(UserError, match=r"there is no schema file '.*shop.yaml'$"):
        load(path)
    with pytest.raises(UserError, match=r"cannot be read: .*Is a directory"):
        load(tmp_path)
    path.write_bytes(b"fields: [user]\ntasks: [\xff]\n")
    with pytest.raises(UserError, match=r"shop.yaml cannot be read: 'utf-8' codec can't decode"):
        load(path)
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert load(path).fields[1].line == 3


# --- whatever a schema file holds, it is read, or refused with its name ---------------------------

PIECES = [*" \n\t{}[]:,'\"`?0~\x00é😀#%@", "&a", "*a", "!!str", "- ", "|\n", ">\n", "---", "1e999"]
EDIT = st.tuples(
    st.integers(0, len(WHOLE)), st.sampled_from([0, 1, 3, 30, 300]), st.sampled_from(PIECES)
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(EDIT, min_size=1, max_size=3), DAMAGE)
def test_whatever_a_schema_file_holds(edits, damage):
    """Edits and damage of a good one."""
    text = WHOLE
    for start, length, piece in edits:
        text = text[:start] + piece + text[start + length :]
    for changed in (text, damaged(WHOLE.encode(), damage).decode(errors="replace")):
        message = "shop.yaml"
        try:
            loads(changed, "shop.yaml")
        except UserError as error:
            message = str(error)
        assert message.startswith("shop.yaml")


# --- where it lies ------------------------------------------------------------------------------


OTHER = SCHEMA.replace("max_values: 3", "max_values: 2")


def config(path, more=""):
    return load_config(f"configs/logs.py:dtn,schema={path}{more}")


@pytest.fixture(scope="module")
def shop(prepared_dir):
    return shared(prepared_dir)[1:]


def test_the_place_comments_and_order_of_keys_do_not_count(tmp_path, monkeypatch):
    first = config(schema_file(tmp_path / "a"))
    changed = SCHEMA.replace("time: t\n", "").replace("group: user", "time: t  # when\ngroup: user")
    second = config(schema_file(tmp_path / "b", changed, "renamed.yaml"))
    monkeypatch.chdir(tmp_path / "a")
    third = config("shop.yaml")
    assert first.data.options == third.data.options  # absolute
    assert first.data.options.startswith(f"schema={tmp_path}/a/shop.yaml#")
    assert second.data.options != first.data.options
    assert identity(first) == identity(second)
    assert not differing(identity(identity(first)), identity(second))  # as cells keep it
    other = config(schema_file(tmp_path / "c", OTHER))
    assert differing(identity(first), identity(other)) == ["data.options"]


@pytest.mark.parametrize("name", ["my shop.yaml", "a=b#c.yaml"])
def test_odd_paths(name, tmp_path, shop):
    path = schema_file(tmp_path, name=name)
    found = config(path, ",quick")
    assert found.model.embedding_dim == 8
    builder = catalog.make_builder("logs", found.data.options, str(shop[1] / "data"), "")
    assert builder.path == path
    assert pathlib.Path(builder.data_dir) == shop[0].folder
    usual = config(schema_file(tmp_path / "usual"))
    assert identity(found)["data.options"] == identity(usual)["data.options"]


def test_paths_that_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a,b.yaml", "shop.yaml"):
        schema_file(tmp_path, name=name)
    with pytest.raises(UserError, match=r"no schema file 'a'; did you mean a,b.yaml"):
        config("a,b.yaml", ",quick")
    with pytest.raises(UserError, match=r"no schema file 'shp.yaml'; did you mean shop.yaml"):
        config("shp.yaml", ",quick")
    odd = schema_file(tmp_path, name="it's.yaml")
    with pytest.raises(UserError, match=r"path cannot have one of .*: .*/it's\.yaml"):
        named_schema.with_meaning(f"schema={odd}")


def test_a_schema_file_given_as_an_option_has_its_meaning_too(tmp_path):
    path = schema_file(tmp_path)
    assert not config("").data.options
    found = load_config("configs/logs.py:dtn")
    assert not found.data.options
    with pytest.raises(UserError, match=r"needs its schema file: --config=configs/logs.py:dtn,sch"):
        catalog.make_builder("logs", found.data.options, "", "")
    override(found, "data.options", f"schema={path}")
    assert found.data.options == config(path).data.options
    before = found.data.options
    override(found, "data.options", before)
    assert found.data.options == before


def test_a_changed_or_deleted_file_leaves_the_run_its_set(tmp_path, shop, capsys):
    data, folder = shop
    path = schema_file(tmp_path / "mine")
    options = config(path).data.options
    path.write_text(OTHER)
    assert catalog.load("logs", options, str(folder / "data")).fingerprint == data.fingerprint
    shown = capsys.readouterr().out
    assert f"schema file {path} now says something else: reading the set that was" in shown
    assert f"{data.folder} (which keeps that file as schema_file.yaml)" in shown
    path.unlink()
    assert catalog.load("logs", options, str(folder / "data")).fingerprint == data.fingerprint
    assert f"schema file {path} is gone: reading" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"is gone, and no set in .*/empty was prepared from what"):
        catalog.load("logs", options, str(tmp_path / "empty"))
    shutil.copytree(folder / "data", tmp_path / "data")
    home = tmp_path / "data" / "logs" / "shop"
    (home / "replaced").mkdir()
    (home / "1.0.0").rename(home / "replaced" / "1.0.0")
    assert catalog.load("logs", options, str(tmp_path / "data")).folder == home / "replaced/1.0.0"


def test_roles_are_those_of_the_file_today_and_a_run_keeps_what_it_read(tmp_path, shop):
    data, folder = shop
    text = SCHEMA.replace("{value: hour(t)}", "{value: hour(t), role: scenario, tokens: when}")
    path = schema_file(tmp_path, text)
    begun = config(path).data.options
    found = catalog.load("logs", begun, str(folder / "data"))
    assert found.fingerprint == data.fingerprint
    assert {f.name: f.role for f in found.schema.fields if f.role} == {"hour": "scenario"}
    assert found.schema.with_roles({}) == data.schema
    star = load_config(f"configs/logs.py:star,schema={path}")
    star.data.data_dir = str(folder / "data")
    run = build_run(star)
    assert run.config.model.star.scenario == ("hour",)
    path.write_text(SCHEMA)
    star.model.star.scenario = run.config.model.star.scenario
    assert identity(build_run(star).config) == identity(run.config)
    path.write_text(text)
    star.model.architecture = "rankmixer"
    assert build_run(star).config.model.rankmixer.fields == "when=hour"
    star.model.architecture = "star"
    path.write_text(SCHEMA)
    star.model.star.scenario = ()
    with pytest.raises(UserError, match=r"give model.star.scenario=FIELD,FIELD, or a field `role"):
        build_run(star)
