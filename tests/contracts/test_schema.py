"""The schema: what it accepts, what it refuses and how it says so."""

import itertools
import json

import pytest

from dtn_jax.errors import UserError, choose
from dtn_jax.schema import Field, Schema, Task

FIELDS = (
    Field("user", rows=1000),
    Field("seen", "bag", rows=500, table="item", slots=20),
    Field("item", rows=500),
    Field("tags", "bag", rows=30, slots=4, pooling="mean", weighted=True),
    Field("age", "numeric", rows=12),
    Field("price", "numeric", rows=2, standardised=True),
    Field("content", "vector", rows=2, length=3),
)
TASKS = (
    Task("order", space="click", also_report=("all",), upstream=("cart", "click")),
    Task("click"),
    Task("seconds", "regression", space="click"),
    Task("cart", upstream=("click",)),
)
SCHEMA = Schema("shop", FIELDS, TASKS, weight="w", group="session")


def one_field(*tasks):
    return Schema("s", (Field("x", rows=3),), tasks)


def error(function, *args, **kwargs):
    with pytest.raises(UserError) as caught:
        function(*args, **kwargs)
    return str(caught.value)


# --- JSON ----------------------------------------------------------------------------------------


def test_json_gives_the_same_schema_back(tmp_path):
    again = Schema.from_json(SCHEMA.to_json())
    assert again == SCHEMA
    assert again.to_json() == SCHEMA.to_json()
    assert isinstance(again.tasks[0].upstream, tuple)
    (tmp_path / "schema.json").write_text(SCHEMA.to_json())
    assert Schema.load(tmp_path / "schema.json") == SCHEMA


def test_a_schema_from_json_is_checked_like_any_other():
    data = json.loads(SCHEMA.to_json())
    data["tasks"][1]["upstream"] = ["order"]
    assert "cycle" in error(Schema.from_json, json.dumps(data))


# --- what it says --------------------------------------------------------------------------------


def test_slots_tables_and_fields():
    assert SCHEMA.field_names == ("user", "seen", "item", "tags", "age", "price", "content")
    assert SCHEMA.task_names == ("order", "click", "seconds", "cart")
    assert SCHEMA.slots == 1 + 20 + 1 + 4 + 1 + 1 + 1
    named = [f.name for f in SCHEMA.slot_fields()]
    assert named == ["user", *["seen"] * 20, "item", *["tags"] * 4, "age", "price", "content"]
    tables = {"user": 1000, "item": 500, "tags": 30, "age": 12, "price": 2, "content": 2}
    assert SCHEMA.tables() == tables
    assert SCHEMA.numbers == 1 + 3
    assert [f.name for f in SCHEMA.number_fields()] == ["price", "content", "content", "content"]
    assert SCHEMA.weighted_slots == 4


def test_spaces_name_that_of_the_loss_first_and_each_once():
    assert Task("order", space="click", also_report=("all", "click", "all")).spaces == (
        "click",
        "all",
    )
    assert Task("order").spaces == ("all",)


def test_a_repeated_upstream_task_counts_once():
    assert Task("order", upstream=["click", "cart", "click"]).upstream == ("click", "cart")


def test_every_task_comes_after_its_upstream_tasks():
    chain = {"a": (), "b": ("a",), "c": ("a", "b"), "d": ("b",)}
    for names in itertools.permutations(chain):
        order = one_field(*(Task(n, upstream=chain[n]) for n in names)).task_order()
        assert sorted(order) == sorted(chain)
        for name, ups in chain.items():
            assert all(order.index(up) < order.index(name) for up in ups)


def test_with_upstream_replaces_the_whole_graph():
    changed = SCHEMA.with_upstream({"cart": ("order",)})
    assert {t.name: t.upstream for t in changed.tasks} == {
        "order": (),
        "click": (),
        "seconds": (),
        "cart": ("order",),
    }
    assert changed.fields == SCHEMA.fields
    assert SCHEMA.tasks[0].upstream == ("cart", "click")
    message = error(SCHEMA.with_upstream, {"ordr": ("click",)})
    assert "unknown task 'ordr'. Did you mean 'order'?" in message
    assert "cycle" in error(SCHEMA.with_upstream, {"order": ("cart",), "cart": ("order",)})


# --- what it refuses -----------------------------------------------------------------------------


def test_a_label_cannot_be_the_group_but_a_field_can():
    assert "group 'click' is a label" in error(Schema, "shop", FIELDS, TASKS, group="click")
    assert Schema("shop", FIELDS, TASKS, group="user").group == "user"


def test_choose_names_the_choices_and_the_nearest():
    assert choose("split", "train", ["train", "test"]) == "train"
    assert error(choose, "split", "tran", iter(["train", "test"])) == (
        "unknown split 'tran'. Did you mean 'train'? The choices are: train, test."
    )
    assert error(choose, "split", "xyz", ["train", "test"]) == (
        "unknown split 'xyz'. The choices are: train, test."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "number"}, "unknown kind of field 'x' 'number'. .* categorical, bag, sequence"),
        ({"kind": "sequence", "slots": 3}, "is sequence with the target ''; a sequence alone has"),
        ({"target": "item"}, "field 'x' is categorical with the target 'item'; a sequence alone"),
        ({"kind": "sequence", "target": "item", "weighted": True}, "only a bag's ids have weights"),
        ({"kind": "bag", "beside": "h"}, "is bag; only a sequence stands beside one, not beside"),
        (
            {"kind": "sequence", "target": "item", "beside": "h"},
            "is sequence beside 'h' with the target 'item'; expected one of them",
        ),
        ({"pooling": "min"}, "unknown pooling of field 'x' 'min'. .* sum, mean, max"),
        ({"weighted": True}, "field 'x' is categorical; only a bag's ids have weights"),
        (
            {"kind": "bag", "weighted": True, "pooling": "max"},
            "field 'x': max pooling has no use for weights",
        ),
        ({"rows": 0}, "field 'x': its table has 0 rows, expected >= 1"),
        ({"slots": 0}, "field 'x' has 0 slots, expected >= 1"),
        ({"slots": 3}, "field 'x' is categorical but has 3 slots; only a bag or sequence holds"),
        ({"slots": 2, "kind": "numeric"}, "field 'x' is numeric but has 2 slots"),
        ({"standardised": True}, "field 'x' is categorical; only a numeric"),
        ({"length": 3}, "field 'x' is categorical; only a vector has a length"),
        ({"kind": "vector", "rows": 2}, "field 'x' is vector, with the length 0 .* length >= 1"),
        ({"kind": "vector", "length": 3}, "the length 3 and a table of 1 rows; expected .* 2 rows"),
        ({"kind": "vector", "rows": 2, "length": 3, "slots": 2}, "is vector but has 2 slots"),
    ],
)
def test_a_field_that_makes_no_sense(options, message):
    with pytest.raises(UserError, match=message):
        Field("x", **options)


@pytest.mark.parametrize("name", ["", "all", "mean", "a@b", "a/b", "a,b", "a:b", "a+b", "a=b"])
def test_a_task_name_that_options_or_metric_keys_could_not_hold(name):
    message = error(Task, name)
    assert f"a task cannot be called {name!r}" in message
    assert "'all', 'mean' and the characters @/,:+= are taken" in message


def test_a_task_of_unknown_kind():
    assert "unknown kind of task 'y' 'multiclass'" in error(Task, "y", "multiclass")


X, Y = Field("x", rows=3), Task("y")
H = Field("h", "sequence", 3, "x", 4, target="x")
C = Field("c", "sequence", slots=4, beside="h")


@pytest.mark.parametrize(
    ("fields", "tasks", "message"),
    [
        ((), (Y,), "'s' needs at least one field and one task"),
        (
            (X, Field("h", "sequence", 3, "x", 4, target="z")),
            (Y,),
            "unknown target of the sequence 'h' 'z'. The choices are: x",
        ),
        (
            (X, Field("h", "sequence", 3, slots=4, target="x")),
            (Y,),
            "the sequence 'h' has the table 'h', and its target 'x' has 'x'; expected one table",
        ),
        (
            (X, H, Field("c", "sequence", beside="x", slots=4)),
            (Y,),
            "unknown history beside which 'c' stands 'x'. The choices are: h",
        ),
        (
            (X, H, C, Field("d", "sequence", beside="c", slots=4)),
            (Y,),
            "unknown history beside which 'd' stands 'c'. The choices are: h",
        ),
        (
            (X, H, Field("c", "sequence", beside="h", slots=3)),
            (Y,),
            "field 'c' has 3 slots, and 'h', beside which it stands, has 4; expected as many",
        ),
        ((X,), (), "'s' needs at least one field and one task"),
        ((X, X), (Y,), "field 'x' is listed twice"),
        ((X,), (Y, Y), "task 'y' is listed twice"),
        ((X, Field("y")), (Y,), "'y' is a label and cannot also be a field"),
        ((X,), (Task("y", space="click"),), "unknown space of task 'y' 'click'. .* all, y"),
        ((X,), (Y, Task("z", also_report=("Y",))), "unknown space of task 'z' 'Y'"),
        ((X,), (Task("y", space="y"),), "task 'y' cannot have the space 'y'"),
        ((X,), (Y, Task("z", also_report=("z",))), "task 'z' cannot have the space 'z'"),
        (
            (X,),
            (Y, Task("r", "regression"), Task("z", space="r")),
            "task 'z' cannot have the space 'r': a space is 'all' or another, binary task",
        ),
        ((X,), (Y, Task("z", upstream=("yy",))), "unknown upstream task of 'z' 'yy'. Did you mean"),
        ((X,), (Task("y", upstream=("y",)),), "the task graph has a cycle: y -> y"),
        (
            (X,),
            (Task("a", upstream=("b",)), Task("b", upstream=("c",)), Task("c", upstream=("a",))),
            "the task graph has a cycle: ([abc]) -> [abc] -> [abc] -> \\1",
        ),
        (
            (X, Field("x2", rows=5, table="x"), Field("z", rows=5)),
            (Y,),
            "fields that share table 'x' disagree on its rows: x has 3, x2 has 5$",
        ),
    ],
)
def test_a_schema_that_makes_no_sense(fields, tasks, message):
    with pytest.raises(UserError, match=message):
        Schema("s", fields, tasks)


def test_a_cycle_is_told_from_a_diamond():
    diamond = (
        Task("a"),
        Task("b", upstream=("a",)),
        Task("c", upstream=("a",)),
        Task("d", upstream=("b", "c")),
    )
    assert one_field(*diamond).task_order()[0] == "a"
