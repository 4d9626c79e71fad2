"""Options that name tasks: a number a task, and the task graph."""

import pytest

from dtn_jax.errors import UserError
from dtn_jax.models.build import task_graph
from dtn_jax.options import per_task


def error(function, *args, **kwargs):
    with pytest.raises(UserError) as caught:
        function(*args, **kwargs)
    return str(caught.value)


def test_per_task_reads_a_number_for_each_task():
    tasks = ("click", "order")
    assert per_task("", tasks, "loss.x", 1.0) == {"click": 1.0, "order": 1.0}
    read = per_task(" order = 3e2 ,click=0", tasks, "loss.x", 1.0)
    assert list(read.items()) == [("click", 0.0), ("order", 300.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clik=2", "unknown task in loss.x 'clik'. Did you mean 'click'?"),
        ("click", "loss.x: expected task=number, got 'click'"),
        ("click=", "loss.x: expected task=number, got 'click='"),
        ("click=two", "loss.x: expected task=number, got 'click=two'"),
        ("click=nan", "loss.x: expected 0 or a number from 1e-09 to 1e+09, got 'click=nan'"),
        ("click=inf", "loss.x: expected 0 or a number from 1e-09 to 1e+09, got 'click=inf'"),
        ("click=-1", "loss.x: expected 0 or a number from 1e-09 to 1e+09, got 'click=-1'"),
        ("click=1,click=2", "loss.x: 'click' is given twice in 'click=1,click=2'"),
        ("2", "loss.x: expected task=number, got '2'"),
    ],
)
def test_per_task_says_what_it_could_not_read(text, message):
    assert message in error(per_task, text, ("click", "order"), "loss.x", 1.0)


def test_task_graph_reads_upstream_tasks():
    assert task_graph("") == {}
    read = task_graph("cart:click, order : click + cart,")
    assert read == {"cart": ("click",), "order": ("click", "cart")}


@pytest.mark.parametrize("text", ["cart", "cart=", ":click", "order:cart,cart"])
def test_task_graph_says_what_it_could_not_read(text):
    part = text.split(",")[-1].replace(":", "=")
    assert f"expected task:upstream+upstream, got {part!r}" in error(task_graph, text)


def test_task_graph_refuses_a_task_twice():
    assert "'order' is given twice" in error(task_graph, "order:click,order:cart")
