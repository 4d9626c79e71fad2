"""Declared options, and the one parser behind those that are lists, weights of tasks or a graph."""

import pytest
from refused_configs import refused

from dtn_jax.models.build import task_graph
from dtn_jax.options import lists, pairs, per_task, split_outside_brackets

TASKS = ("click", "order")


def weights(text):
    return per_task(text, TASKS, "--what", 1.0)


def named_lists(text):
    return lists(text, "--what")


def named_pairs(text):
    return pairs(text, "--what", "task=number")


@pytest.mark.parametrize(
    ("read", "text", "found"),
    [
        (named_lists, " a = 1 , b = x ", {"a": ["1"], "b": ["x"]}),
        (named_lists, "a=1,2,b=3,4", {"a": ["1", "2"], "b": ["3", "4"]}),
        (named_lists, "h=(64,),(128,64),b=1", {"h": ["(64,)", "(128,64)"], "b": ["1"]}),
        (named_lists, "a=(x=1,y=2),(x=3),b=[1;2]", {"a": ["(x=1,y=2)", "(x=3)"], "b": ["[1;2]"]}),
        (named_lists, "options=rows=9", {"options": ["rows=9"]}),  # the first '=' ends the key
        (named_pairs, "a=1,b=(2,3)", {"a": "1", "b": "(2,3)"}),
        (split_outside_brackets, "a,(b,[c,d]),'e,f',{g}", ["a", "(b,[c,d])", "'e,f'", "{g}"]),
        (weights, "", {"click": 1.0, "order": 1.0}),
        (weights, " order = 3e2 ,click=0", {"click": 0.0, "order": 300.0}),
        (task_graph, "b:a, c : a + b,", {"b": ("a",), "c": ("a", "b")}),
    ],
)
def test_what_is_read(read, text, found):
    assert read(text) == found


@pytest.mark.parametrize(
    ("read", "text", "named"),
    [
        *((named_lists, text, f"expected KEY=VALUE, got {text!r}") for text in ("1", "a=", "=1")),
        (named_lists, "a=1,b=2,a=3", "'a' is given twice"),
        (named_pairs, "a=1,2", "expected task=number, got '2'"),
        (weights, "clik=2", "'clik'. Did you mean 'click'?"),
        (weights, "click=1,click=2", "'click' is given twice"),
        *((weights, text, text) for text in ("click", "click=", "click=two", "2")),
        *((weights, f"click={n}", f"'click={n}'") for n in ("nan", "inf", "-1", "1e-320", "1e10")),
        (task_graph, "cart", "got 'cart'"),
        (task_graph, "order:click,order:cart", "'order' is given twice"),
    ],
)
def test_what_cannot_be_read_is_told(read, text, named):
    message = refused(read, text)
    assert named in message
    assert read is task_graph or "--what" in message
