"""Schema files that make no sense: each is refused with file, line and what would; damage too."""

import pytest
from damaged_bytes import DAMAGE, damaged
from hypothesis import given, settings
from hypothesis import strategies as st
from schema_files import SMALL, WHOLE, spoiled

from dtn_jax.datasets.logs.schema import keys
from dtn_jax.datasets.logs.schema.schema_file import load, loads
from dtn_jax.errors import UserError


def refused(text):
    with pytest.raises(UserError) as caught:
        loads(text, "shop.yaml")
    return str(caught.value)


FIELDS = [
    ("x: {knid: bag}", "unknown key of field 'x': 'knid'. Did you mean 'kind'?"),
    ("x: {kind: categoricl}", "'categoricl'. Did you mean 'categorical'"),
    ("x: {kind: [bag]}", "kind of field 'x': expected one of categorical, bag"),
    ("x: {encoder: hsh, size: 3}", "'hsh'. Did you mean 'hash'"),
    ("x: {encoder: buckets}", "The choices are: vocabulary, hash, identity. Fields of the"),
    ("x: {buckets: 8}", "buckets is an option of buckets; field 'x' is categorical"),
    ("x: {kind: numeric, min_count: 2}", "min_count is an option of vocabulary; field 'x' is"),
    ("x: {kind: numeric, encoder: standardise, buckets: 8}", "buckets is an option of buckets"),
    ("x: {encoder: hash, size: 9, min_count: 2}", "min_count is an option of vocabulary"),
    ("x: {pooling: mean}", "pooling is an option of bag"),
    ("x: {kind: bag, cross: [user, item]}", "cross is an option of categorical"),
    ("x: {encoder: hash}", "field 'x' has the encoder hash: expected a size, such as"),
    ("x: {encoder: identity}", "field 'x' has the encoder identity: expected a size, such as"),
    ("x: {cross: [user, item], encoder: identity, size: 9}", "pairs are no rows: expected"),
    ("x: {encoder: hash, size: 1.5}", "expected a whole number, at least 1, got '1.5'"),
    ("x: {encoder: hash, size: 1e300}", "expected a whole number, at least 1, at most"),
    ("x: {kind: numeric, buckets: 1e12}", "buckets of field 'x': expected a whole number, at"),
    ("x: {encoder: hash, size: 0x10}", "expected a whole number, at least 1, got '0x10'"),
    ("x: {encoder: hash, size: }", "expected a whole number, at least 1, got nothing"),
    ("x: {encoder: hash, size: 9, functions: 3}", "functions of field 'x': expected 1 or 2, got"),
    ("x: {kind: numeric, log: maybe}", "log of field 'x': expected true or false, got 'maybe'"),
    ("x: {kind: vector}", "field 'x' is a vector: expected the length of its lists"),
    ("x: {kind: bag, pooling: avg}", "unknown pooling of field 'x': 'avg'"),
    ("x: {kind: bag, encoder: hash, size: 9, functions: 2, pooling: mean}", "pooling: mean"),
    ("x: {kind: bag, keep: newest}", "unknown keep of field 'x': 'newest'"),
    ("x: {keep: last}", "keep is an option of bag or sequence; field 'x' is"),
    ("x: {kind: sequence}", "field 'x' is a sequence: expected a target, such as target"),
    ("x: {kind: sequence, target: itm}", "unknown target of 'x': 'itm'"),
    ("x: {kind: sequence, target: item, weights: w}", "weights is an option of bag"),
    ("x: {kind: sequence, target: item, table: t}", "table is an option of categorical or bag"),
    ("x: {kind: sequence, target: item, value: a + 1}", "is a sequence: expected a column of"),
    ("x: {kind: bag, beside: seen}", "beside is an option of sequence or companion; field 'x'"),
    ("x: {kind: sequence, beside: seen, max_values: 3}", "field 'x' stands beside 'seen', whose"),
    ("x: {kind: sequence, beside: seen, length: 2}", "field 'x' is companion with the encoder"),
    ("x: {kind: sequence, beside: seen, encoder: hsh}", "'hsh'. Did you mean 'hash'"),
    ("x: {kind: sequence, beside: h}", "'x' stands beside 'h', which is no field: expected a"),
    ("x: {kind: bag, pooling: max, weights: w}", "max pooling has no use for weights"),
    ("x: {kind: bag, max_values: 0}", "max_values of field 'x': expected a whole number, at"),
    ("x: {unknown: {a: b}}", "unknown of field 'x': expected a list of texts such as [a"),
    ("x: {unknown: [a, [b]]}", "expected a list of texts such as [a, b], got a list"),
    ("x: {column: a, value: b}", "field 'x' has both column and value: expected one of them"),
    ("x: {value: hour(}", "value 'hour(': expected a column"),
    ("x: {value: huor(t)}", "unknown function 'huor'. Did you mean 'hour'?"),
    ("x: {value: 3}", "value '3': it reads no column"),
    ("x: {cross: [user]}", "cross of field 'x': expected two fields"),
    ("x: {cross: [user, itm]}", "field 'x' crosses 'itm', which is no field. Did you mean"),
    ("x: {cross: [user, x]}", "field 'x' crosses 'x', which is a cross itself"),
    ("x: {cross: [user, item], unknown: [0]}", "'unknown' is an option of the fields that it"),
    ("x: {table: item, min_count: 2}", "shares table 'item' with 'item' (line 3), but has"),
    ("x: {table: item, encoder: hash, size: 5}", "has encoder hash, not vocabulary"),
    ("x: {cross: [user, item], table: item}", "but has cross ['user', 'item'], not none"),
    ("click: {column: clicks}", "'click' is a task and cannot also be a field"),
    ("x: {column: click}", "field 'x' reads 'click', a column of the label of task"),
    ("x: {value: click + 1}", "the model would read the answer"),
    ("x: {value: missing(order)}", "reads 'order', a column of the label of task 'order'"),
    ("x: {kind: numeric, embedding: periodic}", "field 'x' has embedding, and its values are in"),
    ("x: {kind: numeric, bins: 4}", "field 'x' has bins, and its values are in buckets"),
    (
        "x: {kind: numeric, encoder: standardise, embedding: perodic}",
        "mean 'periodic'",
    ),
    ("x: {kind: numeric, encoder: standardise, bins: 0}", "bins of field 'x'"),
    ("x: {kind: vector, length: 3, embedding: periodic}", "embedding is an option of numeric"),
    ("x: {kind: bag, scored_as: 1}", "scored_as is an option of categorical or num"),
    ("x: {scored_as: [1, 2]}", "scored_as of field 'x': expected a value such as 1"),
    ("x: {kind: numeric, scored_as: top}", "scored_as of field 'x': expected a number"),
    ("x: {cross: [user, item], optional: true}", "field 'x' is a cross: 'optional'"),
    ("x: {optional: maybe}", "optional of field 'x': expected true or false"),
    ("p: {encoder: hash, size: 5}\n  q: {encoder: hash, size: 6, table: p}", "has size 6, not 5"),
    ("p: {kind: numeric}\n  q: {cross: [user, p]}", "field 'q' crosses 'p', which is numeric"),
]

BESIDE = [
    ("c: {kind: sequence, beside: user}", "stands beside 'user', which is categorical: expect"),
    ("c: {kind: sequence, beside: h}\n  d: {kind: sequence, beside: c}", "field 'd' stands"),
    ("hist: {kind: sequence, target: item}\n  c: {kind: sequence, beside: hit}", "'hist'?"),
    ("c: {kind: sequence, beside: h, encoder: hash, size: 5, functions: 2}", "stands beside 'h'"),
    ("c: {kind: sequence, beside: h, value: a + 1}", "field 'c' stands beside 'h', a list"),
    ("c: {kind: sequence, beside: h, table: item, min_count: 3}", "field 'c' shares table 'item'"),
]

TASKS = [
    ("x: {labl: y}", "unknown key of task 'x': 'labl'. Did you mean 'label'?"),
    ("x: {kind: bineary}", "unknown kind of task 'x': 'bineary'. Did you mean 'binary'?"),
    ("x: {positives_outside: 2}", "of task 'x': expected a share, from 0 to 1, got '2'"),
    ("x: {kind: regression, positives_outside: 1}", "positives_outside is an option of binary"),
    ("x: {range: [0, 1]}", "range is an option of regression; task 'x' is binary"),
    ("x: {kind: regression, range: 5}", "range of task 'x': expected two numbers such as [0, 12]"),
    ("x: {kind: regression, range: [5, 1]}", "expected the smaller number first, got [5, 1]"),
    ("x: {label: watch = 3}", "label 'watch = 3': '= 3' at character 7 is not understood;"),
    ("x: {space: clik}", "unknown space of task 'x': 'clik'. Did you mean 'click'?"),
    ("x: {space: x}", "task 'x' cannot have the space 'x'"),
    ("x: {also_report: [ordr]}", "unknown space of task 'x': 'ordr'. Did you mean 'order'?"),
    ("x: {upstream: [x]}", "the task graph has a cycle: x -> x"),
    ("all: {}", "a task cannot be called 'all'"),
    ("a@b: {}", "a task cannot be called 'a@b'"),
    ("a: {upstream: [b]}\n  b: {upstream: [a]}", "the task graph has a cycle: "),
    ("a: {space: b}\n  b: {space: a}", "the spaces of tasks lead in a circle: a -> b"),
    ("a: {kind: regression}\n  b: {space: a}", "task 'b' cannot have the space 'a'"),
]

REST = [
    ("group: click", "the group column 'click' is a column of the label of task"),
    ("weight: click", "rows would weigh by the answer"),
    ("time: click", "rows would be ordered by the answer"),
    ("time: {unit: ms}", "time: expected a key 'column'"),
    ("time: {column: t, unit: m}", "unknown unit of time 'm'. Did you mean 'ms'?"),
    ("time: {colum: t}", "unknown key of time 'colum'. Did you mean 'column'?"),
    ("split: {by: tiem}", "unknown by of split 'tiem'. Did you mean 'time'?"),
    ("split: {by: time}", "split by time needs the time column: time: t"),
    ("split: group", "split by group needs the column of the groups: group"),
    ("split: column", "split by column: expected a key 'column'"),
    ("split: {by: column, column: click}", "each split would have one class"),
    ("split: {by: column, column: c, test: 0.1}", "test is an option of time or user_order"),
    ("split: {by: column, column: c, values: {train: 1, test: 2}}", "validation has none"),
    ("split: {by: column, column: c, validation: 0.1, values: {validation: 1}}", "values name"),
    ("split: {by: column, column: c, validation: 0.1, values: {train: 1}}", "values of split"),
    ("split: {by: column, column: c, validation: 2}", "validation of split: expected a share of"),
    ("split: {by: column, column: c, seed: 1}", "nothing is drawn without validation"),
    ("split: {by: column, column: c, values: {trian: 1}}", "'trian'. Did you mean 'train'"),
    ("split: {by: column, column: c, values: {train: 1, validation: 2, test: [3, 1]}}", "in"),
    ("split: {by: random, column: c}", "column is an option of column; the split is random"),
    ("split: {seed: -1}", "seed of split: expected a whole number, at least 0"),
    ("split: {test: 1}", "test of split: expected a share of the rows, above 0 and"),
    ("split: {validation: 0.5, test: 0.5}", "are 1 of the rows together: nothing is left to train"),
    ("sample_negatives: 0.1", "sample_negatives: expected {task: rate}, got '0.1'"),
    ("sample_negatives: {clik: 0.1}", "'clik'. Did you mean 'click'"),
    ("sample_negatives: {click: 0}", "rate of 'click' in sample_negatives: expected a number"),
    ("sample_negatives: {click: 10%}", "expected a number, got '10%'"),
    ("input: {format: cvs}", "unknown format of input 'cvs'. Did you mean 'csv'?"),
    ("input: {format: parquet, separator: ;}", "separator is an option of csv; the format is"),
    ("input: {separator: ', '}", "separator of input: expected one character"),
    ("input: {columns: [a, b, a]}", "columns of input: 'a' is listed twice"),
    ("input: {seperator: ;}", "unknown key of input 'seperator'. Did you mean 'separator'?"),
    ("about: {license: MIT}", "unknown key of about 'license'. Did you mean 'licence'?"),
    ("about: a set", "about: expected keys and values, of citation, licence"),
]

SPLITS = [
    ("{validation: 2026-03-08, test: 2026-03-05}", "starts at 2026-03-08, expected a time before"),
    ("{validation: 2026-03-08}", "validation of split is a time: expected a time for test too"),
    ("{validation: 0.1, test: 2026-03-08}", "test of split is a time: expected a time for"),
    ("{validation: soon, test: 2026-03-08}", "validation of split: expected "),
    ("{validation: 2026-02-30, test: 2026-03-08}", "got '2026-02-30'"),
    ("{validation: 5, test: 2026-03-08}", "split: validation starts at a number and test at a"),
    ("{by: user_order, validation: 1.5, test: 1}", "or a number of rows, from 1 on, got '1.5'"),
]

HISTORY = "h: {kind: sequence, target: item, max_values: 7, keep: first, longest: 9}\n  "
ALL = [
    *((text, spoiled(field=text), part) for text, part in FIELDS),
    *((text, spoiled(field=HISTORY + text), part) for text, part in BESIDE),
    *((text, spoiled(task=text), part) for text, part in TASKS),
    *((text, spoiled(more=text), part) for text, part in REST),
    *((t, spoiled(more=f"split: {t}\ntime: t\ngroup: g"), part) for t, part in SPLITS),
]


@pytest.mark.parametrize(("text", "whole", "part"), ALL, ids=[row[0] for row in ALL])
def test_what_makes_no_sense(text, whole, part):
    """The message names the line of the field, the task or the key."""
    message, lines = refused(whole), whole.splitlines()
    place, _, told = message.partition(": ")
    name, _, line = place.partition(", line ")
    first = next(n for n, own in enumerate(lines, 1) if text.splitlines()[0] in own)
    assert name == "shop.yaml"
    assert first <= int(line) <= first + text.count("\n"), message
    assert part in told, message


TASK, FIELD = "tasks: [click]\n", "fields: [user]\n"
SHAPES = [  # text, line, what the message says
    ("fields: [a\ntasks: [b]\n", 2, "not YAML"),
    ("fields: {a: {}\n", 2, "not YAML"),
    ("a: 'b\n", 2, "not YAML"),
    ("a: b: c\n", 1, "not YAML"),
    ('{"fields": ["a"],\n"tasks": ["b"]', 2, "not YAML"),
    ("fields:\n\tuser: {}\n", 2, "a tab cannot indent; expected spaces"),
    ("name: shop\x07\n", 1, "the character '\\x07' is not allowed"),
    ("- a\n- b\n", 1, "expected keys and values, of name, fields, tasks"),
    ("just a text\n", 1, "expected keys and values"),
    (SMALL + "---\na: b\n", 7, "a second document"),
    ("fields: &all [user]\n" + TASK, 1, "an anchor, &all"),
    (FIELD + "tasks: *all\n", 2, "an alias, *all"),
    (FIELD + "tasks: !!python/object:os.system [x]\n", 2, "a tag, tag:yaml.org,2002:python"),
    ("fields: !mine [user]\n" + TASK, 1, "a tag, !mine"),
    ("a: " + "[" * 400 + "]" * 400, 1, "more than 20 levels of lists and mappings"),
    (FIELD + TASK + "name: a\nname: b\n", 4, "the key 'name' is given twice, first in line 3"),
    (spoiled(field="user: {}"), 4, "the key 'user' is given twice, first in line 2"),
    ('{"fields": ["a"],\n"tasks": ["b"],\n"tasks": ["c"]}', 3, "'tasks' is given twice"),
    (spoiled(field="[a, b]: {}"), 4, "a key must be a text, got a list"),
    (spoiled(field="? {a: b}\n  : {}"), 4, "a key must be a text, got a mapping"),
    (spoiled(field="<<: {kind: bag}"), 4, "'<<' merges nothing here"),
    (spoiled(field='"": {}'), 4, "a field without a name"),
    (spoiled(field="x: bag"), 4, "field 'x': expected its options"),
    (spoiled(field="x: {name: y}"), 4, "field 'x' has its name before the colon"),
    ("fields: user\n" + TASK, 1, "fields: expected {name: options}, or a list of names"),
    ("fields: [a, b,\n a]\n" + TASK, 2, "field 'a' is listed twice, first in line 1"),
    ("fields:\n- {kind: bag}\n" + TASK, 2, "a field without a name"),
    ("fields:\n- [a]\n" + TASK, 2, "a field: expected a name"),
    ("fields:\n- {name: }\n" + TASK, 2, "name of a field: expected a text, got nothing"),
    ("\n" + FIELD, 2, "a schema file needs tasks"),
    ("fields:\n" + TASK, 1, "a schema file needs fields"),
    ("feilds: [a]\n" + TASK, 1, "'feilds'. Did you mean 'fields'?"),
    (SMALL + "grup: user\n", 7, "'grup'. Did you mean 'group'?"),
    (SMALL + "group: [user]\n", 7, "group of the schema file: expected a text, got a list"),
    (SMALL + "name: ../up\n", 7, "expected letters, digits, '_' and '-'"),
    (spoiled(task="x: {label: user > 3}"), 2, "field 'user' reads 'user', a column of the label"),
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
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        load(tmp_path)
    path.write_bytes(b"fields: [user]\ntasks: [\xff]\n")
    with pytest.raises(UserError, match=r"shop.yaml, line 2: it is not UTF-8"):
        load(path)
    path.write_bytes(b"# " + b"x" * 4_000_000)
    with pytest.raises(UserError, match=r"shop.yaml has 4,000,002 bytes"):
        load(path)
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert load(path).fields[1].line == 3


# --- whatever a schema file holds, it is read, or refused with its name ---------------------------

PIECES = [*" \n\t{}[]:,'\"`?0~\x00é😀#%@", "&a", "*a", "!!str", "- ", "|\n", ">\n", "---", "1e999"]
EDIT = st.tuples(
    st.integers(0, len(WHOLE)), st.sampled_from([0, 1, 3, 30, 300]), st.sampled_from(PIECES)
)
SCALARS = st.sampled_from(["7", "-1", "1e999", "~", "yes", "2026-03-05", "12:30", "''", "user"])
KEYS = [key for section in keys.SECTIONS for key in section.model_fields]
NAMES = st.sampled_from([*KEYS, "user", "item", "click", "x"])


def mappings(inner):
    return st.dictionaries(NAMES, inner, max_size=4).map(
        lambda parts: "{" + ", ".join(f"{k}: {v}" for k, v in parts.items()) + "}"
    )


NODES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]") | mappings(inner)
    ),
    max_leaves=8,
)


def check(text):
    message = "shop.yaml"
    try:
        loads(text, "shop.yaml")
    except UserError as error:
        message = str(error)
    assert message.startswith("shop.yaml")


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.lists(EDIT, min_size=1, max_size=3), DAMAGE, st.text(max_size=200))
def test_any_edit(edits, damage, other):
    text = WHOLE
    for start, length, piece in edits:
        text = text[:start] + piece + text[start + length :]
    for changed in (text, damaged(WHOLE.encode(), damage).decode(errors="replace"), other):
        check(changed)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.dictionaries(NAMES, NODES, max_size=5), st.booleans())
def test_any_nodes(found, whole):
    """Good YAML whose keys there are, at places where they may mean nothing."""
    lines = [f"{key}: {node}\n" for key, node in found.items()]
    check((SMALL if whole else "") + "".join(lines))
