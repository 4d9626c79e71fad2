"""The schema: what it says, and the names and graphs of tasks that it refuses."""

import itertools
import json

import pytest
from refused_configs import refused

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


def test_json_gives_the_same_schema_back(tmp_path):
    again = Schema.from_json(SCHEMA.to_json())
    assert again == SCHEMA
    assert isinstance(again.tasks[0].upstream, tuple)
    (tmp_path / "schema.json").write_text(SCHEMA.to_json())
    assert Schema.load(tmp_path / "schema.json") == SCHEMA
    data = json.loads(SCHEMA.to_json())
    data["tasks"][1]["upstream"] = ["order"]
    assert "cycle" in refused(Schema.from_json, json.dumps(data))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "categoricl"}, "unknown kind of field 'x' 'categoricl'. Did you mean 'categ"),
        ({"pooling": "avg"}, "unknown pooling of field 'x' 'avg'. The choices are: sum, mean, max"),
        ({"role": "scenrio"}, "unknown role of field 'x' 'scenrio'. Did you mean 'scenario'?"),
        ({"rows": 0}, "field 'x': its table has 0 rows, expected >= 1"),
    ],
)
def test_a_field_that_cannot_be(changes, message):
    assert message in refused(Field, "x", **changes)


def test_fields_that_share_a_table_agree_on_its_rows():
    fields = (Field("a", rows=5, table="t"), Field("b", rows=6, table="t"))
    message = refused(Schema, "s", fields, TASKS)
    assert "share table 't' disagree on its rows: 'a' has 5, another one 6" in message


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


def test_spaces_and_upstream_tasks_count_once():
    """The space of the loss is first."""
    reported = Task("order", space="click", also_report=("all", "click", "all"))
    assert reported.spaces == ("click", "all")
    assert Task("order").spaces == ("all",)
    assert Task("order", upstream=["click", "cart", "click"]).upstream == ("click", "cart")


@pytest.mark.parametrize(
    "chain",
    [
        {"a": (), "b": ("a",), "c": ("a", "b"), "d": ("b",)},
        {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")},  # no cycle, a diamond
    ],
)
def test_every_task_comes_after_its_upstream_tasks(chain):
    for names in itertools.permutations(chain):
        tasks = tuple(Task(n, upstream=chain[n]) for n in names)
        order = Schema("s", FIELDS[:1], tasks).task_order()
        assert sorted(order) == sorted(chain)
        for name, ups in chain.items():
            assert all(order.index(up) < order.index(name) for up in ups)


def test_with_upstream_replaces_the_whole_graph():
    changed = SCHEMA.with_upstream({"cart": ("order",)})
    ups = {t.name: t.upstream for t in changed.tasks}
    assert ups == {"order": (), "click": (), "seconds": (), "cart": ("order",)}
    assert changed.fields == SCHEMA.fields
    assert SCHEMA.tasks[0].upstream == ("cart", "click")
    assert "Did you mean 'order'?" in refused(SCHEMA.with_upstream, {"ordr": ("click",)})
    assert "cycle" in refused(SCHEMA.with_upstream, {"order": ("cart",), "cart": ("order",)})


@pytest.mark.parametrize("name", ["", "all", "mean", "a@b", "a/b", "a,b", "a:b", "a+b", "a=b"])
def test_a_task_name_that_options_or_metric_keys_could_not_hold(name):
    message = refused(Task, name)
    assert f"a task cannot be called {name!r}" in message
    assert all(taken in message for taken in ("'all'", "'mean'", "@/,:+="))


def test_kinds_of_tasks_and_the_group():
    assert "'multiclass'" in refused(Task, "y", "multiclass")
    assert "group 'click' is a label" in refused(Schema, "shop", FIELDS, TASKS, group="click")
    assert Schema("shop", FIELDS, TASKS, group="user").group == "user"
