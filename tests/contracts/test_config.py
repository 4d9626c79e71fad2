"""The checked config: each option within its bounds; overrides, cast to the option's type."""

import math

import pytest
from refused_configs import DEFAULTS, changed, refused

from configs import base
from dtn_jax import config as options
from dtn_jax.config import declarations

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
