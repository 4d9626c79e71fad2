"""The one parser behind options that are lists, and what a declared option allows."""

import dataclasses

import pytest

from dtn_jax.errors import UserError
from dtn_jax.options import Option, declared, lists, option, pairs, split_outside_brackets


def refused(call, *arguments) -> str:
    with pytest.raises(UserError) as caught:
        call(*arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        (" , ; ", {}),
        ("a=1", {"a": ["1"]}),
        (" a = 1 , b = x ", {"a": ["1"], "b": ["x"]}),
        ("a=1;b=2", {"a": ["1"], "b": ["2"]}),  # as it was once separated
        ("a=1,2,b=3,4", {"a": ["1", "2"], "b": ["3", "4"]}),
        ("hidden=(64,),(128,64),b=1", {"hidden": ["(64,)", "(128,64)"], "b": ["1"]}),
        ("a=(x=1,y=2),(x=3),b=[1;2]", {"a": ["(x=1,y=2)", "(x=3)"], "b": ["[1;2]"]}),
        ("a='1,2;3=4',b=5", {"a": ["'1,2;3=4'"], "b": ["5"]}),
        ("experts=gdcn+mlp*2", {"experts": ["gdcn+mlp*2"]}),
        ("options=rows=9", {"options": ["rows=9"]}),  # the first '=' ends the key
    ],
)
def test_lists(text, found):
    assert lists(text, "--grid") == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2", "--grid: expected KEY=VALUE, got '1'"),
        ("a=", "--grid: expected KEY=VALUE, got 'a='"),
        ("=1", "--grid: expected KEY=VALUE, got '=1'"),
        ("a=1,b=2,a=3", "--grid: 'a' is given twice in 'a=1,b=2,a=3'"),
    ],
)
def test_lists_that_cannot_be_read(text, message):
    assert refused(lists, text, "--grid") == message
    assert refused(pairs, text, "--grid") == message


def test_pairs_have_one_value_each():
    assert pairs("a=1,b=(2,3)", "--set") == {"a": "1", "b": "(2,3)"}
    assert refused(pairs, "a=1,2", "--set", "task=number") == "--set: expected task=number, got '2'"


def test_separators_inside_brackets_and_quotes_do_not_separate():
    assert split_outside_brackets("a,(b,[c,d]),'e,f',{g,h}") == [
        *("a", "(b,[c,d])", "'e,f'", "{g,h}"),
    ]
    assert split_outside_brackets("a;b,c", ";") == ["a", "b,c"]


@pytest.mark.parametrize(
    ("found", "good", "bad"),
    [
        (Option(2, "", least=1), [1, 5], [0, -1, 1.5, True, "2"]),
        (Option(0.5, "", above=0, below=1), [0.1, 0.9], [0, 1, 0.0, float("nan"), "0.5"]),
        (Option(0.5, "", least=0, most=1), [0, 1, 0.0], [-0.1, 1.1, float("inf")]),
        (Option(False, ""), [True, False], [0, 1, "true"]),
        (Option("a", ""), ["", "b"], [1, None]),
        (Option("a", "", choices=("a", "b")), ["a", "b"], ["c"]),
        (Option((1,), ""), [(), (3, 4)], [(0,), (1.0,), ("1",)]),
        (Option((), "", items=str), [(), ("a",)], [(1,)]),
    ],
)
def test_what_an_option_allows(found, good, bad):
    for value in good:
        found.check("key", value)
    for value in bad:
        assert "key" in refused(found.check, "key", value)


def test_choices_may_be_listed_when_they_are_asked_for():
    words = ["a"]
    found = Option("a", "", choices=lambda: words)
    assert "The choices are: a." in refused(found.check, "key", "b")
    words.append("b")
    found.check("key", "b")
    assert found.expected == "one of a, b"


def test_declared_options_are_the_fields_that_say_so():
    @dataclasses.dataclass
    class Owner:
        width: int
        layers: int = option(2, "layers", least=1)
        rate: float = 0.5

    assert list(declared(Owner)) == ["layers"]
    assert Owner(3).layers == 2
    assert declared(Owner)["layers"].expected == "a whole number at least 1"
    assert declared(int) == {}
