"""The checked config: each option with its bounds, and none that nothing declares."""

import pytest
import refused_configs
from refused_configs import DEFAULTS, changed, refused

from configs import base
from dtn_jax import config as options
from dtn_jax.config import declarations

in_the_repository = refused_configs.in_the_repository


def test_a_checked_config_is_frozen():
    config = options.checked_config(base.get_config())
    assert options.flatten(config) == DEFAULTS
    with pytest.raises(AttributeError):
        config.seed = 3
    with pytest.raises(AttributeError):
        config.model.mlp.hidden = ()


def bounded(*names):
    """The keys of numbers that have one of these bounds."""
    return [
        k
        for k, found in declarations().items()
        if any(getattr(found.option, name) is not None for name in names)
    ]


def test_every_option_explains_itself():
    for key, found in declarations().items():
        assert found.option.help, key
        assert not found.option.help.endswith("."), key
        found.option.check(key, found.option.default)


@pytest.mark.parametrize("key", [k for k, d in declarations().items() if d.option.choices])
def test_a_choice_is_one_of_those_listed(key):
    choices = declarations()[key].option.words
    for choice in choices:
        options.checked_config(changed(key, choice))
    message = refused(options.checked_config, changed(key, "nonsense"))
    assert message.startswith(f"unknown {key} 'nonsense'.")
    assert f"The choices are: {', '.join(choices)}." in message


@pytest.mark.parametrize("key", bounded("least", "above"))
def test_a_number_is_not_too_low(key):
    option = declarations()[key].option
    kind, low = type(option.default), option.least if option.above is None else option.above
    if option.above is None:
        options.checked_config(changed(key, kind(low)))
    bad = [low - 1] if kind is int else [low - 0.1, float("nan"), float("inf")]
    for value in bad if option.above is None else [*bad, low]:
        message = refused(options.checked_config, changed(key, kind(value)))
        assert message == f"{key}={kind(value)}: expected {option.expected}"
        assert f"{low:g}" in option.expected


@pytest.mark.parametrize("key", bounded("most", "below"))
def test_a_number_is_not_too_high(key):
    option = declarations()[key].option
    kind, high = type(option.default), option.most if option.below is None else option.below
    if option.below is None:
        options.checked_config(changed(key, kind(high)))
    for value in [high + 1] if option.below is None else [high + 1, high]:
        message = refused(options.checked_config, changed(key, kind(value)))
        assert message == f"{key}={kind(value)}: expected {option.expected}"


def test_these_numbers_are_bounded():
    """A bound that is dropped from a declaration would be missed by the tests above."""
    low = set(bounded("least", "above"))
    open_below = {k for k, v in DEFAULTS.items() if type(v) in (int, float)} - low
    assert not {k for k in open_below if not declarations()[k].family}
    for thing in ("ple", "stem", "adatt", "aitm", "gdcn", "masknet", "dcnv2", "huber", "focal"):
        assert not {k for k in open_below if f".{thing}." in k}
    assert {k for k in open_below if ".hcnet." in k} == {"model.hcnet.seed"}
    assert {"optim.b1", "optim.eps", "model.dropout", "data.train_share", "seed"} <= set(
        bounded("most", "below")
    )


@pytest.mark.parametrize("value", [(0,), (8, -1), ("x",), (8.0,)])
def test_widths_are_whole_numbers_of_at_least_one(value):
    config = base.get_config()
    config.unlock()
    config.model.mlp.hidden = value
    assert "model.mlp.hidden" in refused(options.checked_config, config)


def test_an_option_that_nothing_declares_is_refused():
    config = base.get_config()
    config.unlock()
    config.train.epoch = 1
    assert "'train.epoch'" in refused(options.checked_config, config)


def test_a_config_without_an_option_is_refused():
    config = base.get_config()
    config.unlock()
    del config.train.patience
    message = refused(options.checked_config, config)
    assert message == "the config has no 'train.patience': a config edits that of configs/base.py"


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_early_stopping_needs_a_schedule_that_does_not_end(schedule):
    config = changed("optim.schedule", schedule)
    options.checked_config(config)
    config.train.patience, config.train.epochs = 2, 7
    assert refused(options.checked_config, config) == (
        f"train.patience=2 does not go with optim.schedule={schedule}, whose rates fall to 0 at "
        "the run's last step: a run that stops early does not get there. Set train.patience=0, "
        "which trains exactly train.epochs=7, or optim.schedule=constant"
    )
    config.optim.schedule = "constant"
    options.checked_config(config)
