"""Schema files that make no sense: each is refused with file, line and what would; damage too."""

import pathlib
import re

import pytest
from damaged_bytes import DAMAGE, damaged
from hypothesis import given, settings
from hypothesis import strategies as st
from schema_files import SMALL, WHOLE, spoiled

from dtn_jax.data.schemas.schema_file import load, loads
from dtn_jax.errors import UserError


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
