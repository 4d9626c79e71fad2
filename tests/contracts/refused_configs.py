"""What tests of configs share: the defaults, a config with changes, the message of a refusal."""

import pytest
from ml_collections import ConfigDict

from configs import base
from dtn_jax import config as options
from dtn_jax.errors import UserError

DEFAULTS = options.flatten(base.get_config())


def refused(call, *arguments, **named) -> str:
    """The message with which a call is refused."""
    with pytest.raises(UserError) as caught:
        call(*arguments, **named)
    return str(caught.value)


def changed(**changes) -> ConfigDict:
    """The default config with other values: `train__epochs=2` changes train.epochs."""
    config = base.get_config()
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config
