"""Whatever a schema file holds, it is read, or refused with its name: nothing else."""

import pytest
from damaged_bytes import DAMAGE, damaged
from hypothesis import given, settings
from hypothesis import strategies as st
from schema_files import SMALL, WHOLE

from dtn_jax.datasets.logs.schema import keys
from dtn_jax.datasets.logs.schema.schema_file import loads
from dtn_jax.errors import UserError

pytestmark = pytest.mark.slow

MANY = settings(max_examples=400, deadline=None)
PIECES = [
    "",
    " ",
    "\n",
    "\t",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "'",
    '"',
    "`",
    "&a",
    "*a",
    "!!str",
    "- ",
    "|\n",
]
PIECES += [
    "?",
    "---",
    "0",
    "-1",
    "1e999",
    "null",
    "~",
    "\x00",
    "\ud800",
    "é",
    "😀",
    "#",
    "%",
    "@",
    ">\n",
]
EDIT = st.tuples(
    st.integers(0, len(WHOLE)), st.sampled_from([0, 1, 3, 30, 300]), st.sampled_from(PIECES)
)
SCALARS = st.sampled_from(
    ["7", "-1", "1e999", "null", "~", "yes", "2026-03-05", "12:30", "''", "user"]
)
NAMES = st.sampled_from([*keys.FILE, *keys.FIELD, *keys.TASK, "user", "item", "click", "x"])
NODES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]")
        | st.dictionaries(NAMES, inner, max_size=4).map(
            lambda parts: "{" + ", ".join(f"{k}: {v}" for k, v in parts.items()) + "}"
        )
    ),
    max_leaves=8,
)


def refusal(text):
    """Of a schema file; '' where it is good."""
    try:
        loads(text, "shop.yaml")
    except UserError as error:
        return str(error)
    return ""


def is_clean(message):
    return message == "" or message.startswith("shop.yaml")


@MANY
@given(st.lists(EDIT, min_size=1, max_size=3))
def test_edits(edits):
    text = WHOLE
    for start, length, piece in edits:
        text = text[:start] + piece + text[start + length :]
    assert is_clean(refusal(text))


@MANY
@given(DAMAGE)
def test_damaged_bytes(damage):
    assert is_clean(refusal(damaged(WHOLE.encode(), damage).decode(errors="replace")))


@MANY
@given(st.text(max_size=200))
def test_any_text(text):
    assert is_clean(refusal(text))


@MANY
@given(st.dictionaries(NAMES, NODES, max_size=5), st.booleans())
def test_any_nodes(found, whole):
    """Good YAML whose keys there are, at places where they may mean nothing."""
    lines = [f"{key}: {node}\n" for key, node in found.items()]
    assert is_clean(refusal((SMALL if whole else "") + "".join(lines)))


def test_some_edits_are_told():
    assert refusal(WHOLE) == ""
    assert refusal(WHOLE.replace("kind: bag", "kind: bug")).startswith("shop.yaml, line 6: ")
