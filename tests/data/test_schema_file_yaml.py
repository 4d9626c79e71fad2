"""Files that are no YAML, or YAML of the wrong shape: refused with file and line."""

import pytest
from schema_files import SMALL, spoiled

from dtn_jax.datasets.logs.schema.schema_file import load, loads
from dtn_jax.errors import UserError

TASKS = "tasks: [click]\n"
FIELDS = "fields: [user]\n"


def refused(text):
    with pytest.raises(UserError) as caught:
        loads(text, "shop.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("fields: [a\ntasks: [b]\n", 2, "not YAML"),
        ("fields: {a: {}\n", 2, "not YAML"),
        ("a: 1\nb", 2, "not YAML"),
        ("a: 'b\n", 2, "not YAML"),
        ("fields:\n\tuser: {}\n", 2, "a tab cannot indent; expected spaces"),
        ("fields:\n  user: {}\n  item: {\n\t\tkind: bag}\n", 4, "a tab cannot indent"),
        ("a: b: c\n", 1, "not YAML"),
        ("name: shop\x07\n", 1, "the character '\\x07' is not allowed"),
        ("- a\n- b\n", 1, "the schema file: expected keys and values, of name, fields, tasks"),
        ("just a text\n", 1, "expected keys and values"),
        (SMALL + "---\na: b\n", 7, "a second document; expected one"),
        ("fields: &all [user]\n" + TASKS, 1, "an anchor, &all; expected the text alone"),
        (FIELDS + "tasks: *all\n", 2, "an alias, *all; expected the text itself"),
        ("fields: &a [*a]\n", 1, "an anchor"),
        (FIELDS + "tasks: !!python/object:os.system [x]\n", 2, "a tag, tag:yaml.org,2002:python"),
        ("fields: !!binary aGk=\n" + TASKS, 1, "a tag"),
        ("fields: !mine [user]\n" + TASKS, 1, "a tag, !mine; expected none"),
        ("a: " + "[" * 400 + "]" * 400, 1, "more than 20 levels of lists and mappings"),
        (
            FIELDS + TASKS + "name: a\nname: b\n",
            4,
            "the key 'name' is given twice, first in line 3",
        ),
        (spoiled(field="user: {}"), 4, "the key 'user' is given twice, first in line 2"),
        (spoiled(field="x: {kind: bag, kind: bag}"), 4, "the key 'kind' is given twice"),
        (spoiled(field="[a, b]: {}"), 4, "a key must be a text, got a list"),
        (spoiled(field="? {a: b}\n  : {}"), 4, "a key must be a text, got a mapping"),
        (spoiled(field="<<: {kind: bag}"), 4, "'<<' merges nothing here"),
        (spoiled(field='"": {}'), 4, "a field without a name"),
        (
            spoiled(field="x: bag"),
            4,
            "field 'x': expected its options, such as {kind: …}, got 'bag'",
        ),
        (
            spoiled(field="x: [bag]"),
            4,
            "field 'x': expected its options, such as {kind: …}, got a list",
        ),
        (spoiled(field="x: {name: y}"), 4, "field 'x' has its name before the colon"),
        ("fields: user\n" + TASKS, 1, "fields: expected {name: options}, or a list of names"),
        ("fields: [a, b,\n a]\n" + TASKS, 2, "field 'a' is listed twice, first in line 1"),
        ("fields:\n- {kind: bag}\n" + TASKS, 2, "a field without a name: expected a key 'name'"),
        (
            "fields:\n- [a]\n" + TASKS,
            2,
            "a field: expected a name, or {name: …, kind: …}, got a list",
        ),
        ("fields:\n-\n" + TASKS, 2, "a field: expected a name, or {name: …, kind: …}, got nothing"),
        ("fields:\n- {name: }\n" + TASKS, 2, "name of a field: expected a text, got nothing"),
        ("\n" + FIELDS, 2, "a schema file needs tasks, at least one"),
        (TASKS, 1, "a schema file needs fields, at least one"),
        ("fields: {}\n" + TASKS, 1, "a schema file needs fields, at least one"),
        ("fields:\n" + TASKS, 1, "a schema file needs fields, at least one"),
        (
            "feilds: [a]\n" + TASKS,
            1,
            "unknown key of the schema file 'feilds'. Did you mean 'fields'?",
        ),
        (SMALL + "grup: user\n", 7, "unknown key of the schema file 'grup'. Did you mean 'group'?"),
        (SMALL + "group:\n", 7, "group of the schema file: expected a text, got nothing"),
        (SMALL + "group: [user]\n", 7, "group of the schema file: expected a text, got a list"),
        (SMALL + "name: my shop\n", 7, "the name 'my shop' of the data set names a folder"),
        (SMALL + "name: ../up\n", 7, "expected letters, digits, '_' and '-'"),
        ('{"fields": ["a"],\n"tasks": ["b"],\n"tasks": ["c"]}', 3, "'tasks' is given twice"),
        ('{"fields": ["a"],\n"tasks": ["b"]', 2, "not YAML"),
    ],
)
def test_wrong_shapes(text, line, part):
    message = refused(text)
    assert message.startswith(f"shop.yaml, line {line}: "), message
    assert part in message
    assert "\n" not in message


def test_an_empty_file():
    for text in ("", "\n\n", "# nothing\n"):
        assert refused(text) == "shop.yaml is empty"
    assert "expected keys and values, of name" in refused("---\n")


def test_files_that_cannot_be_read(tmp_path):
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
