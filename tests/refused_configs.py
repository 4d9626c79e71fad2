"""What tests of configs share: the defaults, a config with one change, the message of a refusal."""

import pathlib

import pytest
from ml_collections import ConfigDict

from configs import base
from dtn_jax import config as options
from dtn_jax.errors import UserError

ROOT = pathlib.Path(__file__).parents[1]
DEFAULTS = options.flatten(base.get_config())


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def refused(call, *arguments, **named) -> str:
    """The message with which a call is refused."""
    with pytest.raises(UserError) as caught:
        call(*arguments, **named)
    return str(caught.value)


def changed(key, value) -> ConfigDict:
    config = base.get_config()
    config.update_from_flattened_dict({key: value})
    return config
