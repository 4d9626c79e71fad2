"""Overrides: cast to the option's type, or refused with the nearest key."""

import pytest
import refused_configs
from refused_configs import DEFAULTS, refused

from configs import base
from dtn_jax import config as options

in_the_repository = refused_configs.in_the_repository


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("seed", "3", 3),
        ("seed", " 3 ", 3),
        ("optim.learning_rate", "3e-4", 3e-4),
        ("optim.learning_rate", "1", 1.0),
        ("loss.sample_weights", "true", True),
        ("loss.sample_weights", "False", False),
        ("loss.sample_weights", "1", True),
        ("loss.sample_weights", "0", False),
        ("model.experts", "gdcn+mlp*2", "gdcn+mlp*2"),
        ("loss.task_weights", "click=1,order=0.5", "click=1,order=0.5"),
        ("model.mlp.hidden", "128,64", (128, 64)),
        ("model.mlp.hidden", "(128,64)", (128, 64)),
        ("model.mlp.hidden", "[128, 64]", (128, 64)),
        ("model.mlp.hidden", "(128,)", (128,)),
        ("model.mlp.hidden", "128", (128,)),
        ("model.mlp.hidden", "()", ()),
        ("model.mlp.hidden", "", ()),
        ("model.hcnet.fields", "race,native-country", ("race", "native-country")),
        ("model.hcnet.fields", "(race, native-country)", ("race", "native-country")),
        ("model.hcnet.fields", "('race', \"native-country\")", ("race", "native-country")),
        ("model.hcnet.fields", "101,205", ("101", "205")),
        ("model.hcnet.fields", "()", ()),
    ],
)
def test_an_override_is_cast_to_the_options_type(key, text, value):
    config = base.get_config()
    options.override(config, key, text)
    assert repr(options.flatten(config)[key]) == repr(value)  # 1 is not 1.0, nor True, nor '1'


def test_an_empty_tuple_does_not_forget_what_it_may_hold():
    config = base.get_config()
    for text, value in [("", ()), ("8,4", (8, 4))]:
        options.override(config, "model.mlp.hidden", text)
        assert config.model.mlp.hidden == value
    for text, value in [("race", ("race",)), ("", ()), ("race,gender", ("race", "gender"))]:
        options.override(config, "model.hcnet.fields", text)
        assert config.model.hcnet.fields == value


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("seed", "1.5", "a whole number"),
        ("seed", "1e3", "a whole number"),
        ("seed", "", "a whole number"),
        ("train.epochs", "many", "a whole number"),
        ("optim.learning_rate", "fast", "a number"),
        ("optim.learning_rate", "1,5", "a number"),
        ("loss.sample_weights", "maybe", "true or false"),
        ("loss.sample_weights", "2", "true or false"),
        ("model.mlp.hidden", "wide", "whole numbers such as 128,64"),
        ("model.mlp.hidden", "128,6.5", "whole numbers such as 128,64"),
        ("model.mlp.hidden", "(128.0,)", "whole numbers such as 128,64"),
        ("model.mlp.hidden", "(128", "whole numbers such as 128,64"),
    ],
)
def test_a_value_of_another_type_is_refused(key, text, expected):
    config = base.get_config()
    message = refused(options.override, config, key, text)
    assert message.startswith(f"config key {key!r} expects {expected}")
    assert message.endswith(f", got {text!r}")
    assert options.flatten(config) == DEFAULTS


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("optim.learning_rat", "optim.learning_rate"),
        ("optim.lerning_rate", "optim.learning_rate"),
        ("learning_rate", "optim.learning_rate"),
        ("model.learning_rate", "optim.learning_rate"),
        ("batchsize", "data.batch_size"),
        ("epoch", "train.epochs"),
        ("model.hidden", "model.masknet.hidden or model.mlp.hidden"),
        ("embedding_dims", "model.embedding_dim"),
        ("Seed", "seed"),
        ("model.mlp", "model.mlp.hidden"),
        ("parallel", "parallel.check_memory, parallel.devices, parallel.heartbeat_seconds"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(key, nearest):
    config = base.get_config()
    message = refused(options.override, config, key, "1")
    assert message.startswith(f"unknown config key {key!r}. ")
    assert nearest in message
    assert "All keys: --help=all." in message
    assert options.flatten(config) == DEFAULTS


def test_a_key_like_no_other_is_answered_with_the_list():
    message = refused(options.override, base.get_config(), "xyzzy", "1")
    assert message == "unknown config key 'xyzzy'. All keys: --help=all."
