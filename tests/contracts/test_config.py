"""Options within their bounds, overrides cast to their types, and the parser of lists."""

import math

import pytest
from refused_configs import DEFAULTS, changed, refused

from configs import base
from dtn_jax import config as options
from dtn_jax.config import declarations
from dtn_jax.models.build import task_graph
from dtn_jax.options import lists, pairs, per_task, split_outside_brackets

OPTIONS = {key: found.option for key, found in declarations().items()}


def test_a_checked_config_is_frozen():
    config = options.checked_config(base.get_config())
    assert options.flatten(config) == DEFAULTS
    with pytest.raises(AttributeError):
        config.seed = 3
    with pytest.raises(AttributeError):
        config.model.mlp.hidden = ()


def edges(option):
    """(values at an option's bounds, values outside of them)."""
    if option.choices:
        return option.words, ["nonsense"]
    kind = type(option.default)
    given = (option.least, option.above, option.most, option.below)
    if given == (None, None, None, None):
        return [], []
    good = [kind(b) for b in (option.least, option.most) if b is not None]
    bad = [kind(b) for b in (option.above, option.below) if b is not None]
    bad += [kind(b + step) for b, step in zip(given, (-1, -1, 1, 1)) if b is not None]
    return good, bad + ([math.nan, math.inf] if kind is float else [])


@pytest.mark.parametrize("key", [k for k, o in OPTIONS.items() if edges(o) != ([], [])])
def test_an_option_may_be_what_it_declares_and_nothing_else(key):
    option = OPTIONS[key]
    good, bad = edges(option)
    for value in good:
        options.checked_config(changed(**{key: value}))
    for value in bad:
        message = refused(options.checked_config, changed(**{key: value}))
        assert key in message
        assert str(value) in message
        told = option.words if option.choices else [option.expected]
        assert all(word in message for word in told)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        *(
            ({"model.mlp.hidden": widths}, "model.mlp.hidden")
            for widths in [(8, -1), ("x",), (8.0,)]
        ),
        # Rates that fall until the last step do not go with early stopping.
        (
            {"train.patience": 2, "optim.schedule": "linear"},
            "train.patience=2 needs optim.schedule=constant, got linear",
        ),
        (
            {"train.accumulate": 2, "model.normalisation": "batch"},
            "train.accumulate=2 needs model.normalisation=layer or none, got batch",
        ),
    ],
)
def test_values_that_cannot_be(changes, named):
    assert named in refused(options.checked_config, changed(**changes))


def test_a_config_has_the_options_that_are_declared_and_no_others():
    config = base.get_config()
    config.unlock()
    config.train.epoch = 1
    assert "'train.epoch'" in refused(options.checked_config, config)
    del config.train.epoch, config.train.patience
    assert "'train.patience'" in refused(options.checked_config, config)


# ---------------------------------------------------------------- overrides


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("seed", " 3 ", 3),
        ("optim.learning_rate", "3e-4", 3e-4),
        ("optim.learning_rate", "1", 1.0),
        ("loss.sample_weights", "true", True),
        ("loss.sample_weights", "1", True),
        ("model.experts", "gdcn+mlp*2", "gdcn+mlp*2"),
        ("model.mlp.hidden", "128,64", (128, 64)),
        ("model.mlp.hidden", "[128, 64]", (128, 64)),
        ("model.mlp.hidden", "()", ()),
        ("model.mlp.hidden", "", ()),
        ("model.hcnet.fields", "race,native-country", ("race", "native-country")),
        ("model.hcnet.fields", "('race', \"native-country\")", ("race", "native-country")),
    ],
)
def test_an_override_is_cast_to_the_options_type(key, text, value):
    config = base.get_config()
    if isinstance(value, tuple):  # an empty one does not forget what it may hold
        options.override(config, key, "")
    options.override(config, key, text)
    assert repr(options.flatten(config)[key]) == repr(value)  # 1 is not 1.0, nor True, nor '1'


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("seed", "1.5", "a whole number"),
        ("optim.learning_rate", "1,5", "a number"),
        ("loss.sample_weights", "2", "true or false"),
        ("model.mlp.hidden", "wide", "whole numbers such as 128,64"),
        ("model.mlp.hidden", "(128", "whole numbers such as 128,64"),
        # of keys that are none, the nearest
        ("optim.lerning_rate", "1", "optim.learning_rate"),
        ("model.learning_rate", "1", "optim.learning_rate"),
        ("batchsize", "1", "data.batch_size"),
        ("model.hidden", "1", "model.pnn.hidden or model.mlp.hidden"),
        ("model.mlp", "1", "model.mlp.hidden"),
        ("parallel", "1", "parallel.check_memory, parallel.devices, parallel.heartbeat_seconds"),
        ("xyzzy", "1", "--help=all"),
    ],
)
def test_an_override_that_cannot_be(key, text, expected):
    config = base.get_config()
    message = refused(options.override, config, key, text)
    assert repr(key) in message
    assert expected in message
    assert (repr(text) in message) == (key in DEFAULTS)
    assert ("Did you mean" in message) <= (key != "xyzzy")
    assert options.flatten(config) == DEFAULTS


# Declared options, and the one parser behind those that are lists, weights of tasks or a gr.


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
