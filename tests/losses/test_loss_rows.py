"""Which rows a task's loss is taken on."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from dtn_jax.errors import UserError
from dtn_jax.losses.rows import row_weights
from dtn_jax.metrics.spaces import space_mask
from dtn_jax.schema import Field, Schema, Task

SCHEMA = Schema(
    "shop",
    fields=(Field("item", rows=3),),
    tasks=(
        Task("click"),
        Task("order", space="click", also_report=("all",), upstream=("click",)),
    ),
)


def test_space_mask_truth_table():
    # every way for (row real, own label known, click known, click = 1)
    rows = np.array(list(itertools.product([False, True], repeat=4)))
    real, own, known, clicked = rows.T
    labels = np.zeros((16, 2))
    labels[:, 0] = clicked
    label_mask = np.stack([known, own], axis=1)
    expected = {"all": real & own, "click": real & own & known & clicked}
    for convert in (np.asarray, jnp.asarray):
        arguments = [convert(a) for a in (labels, label_mask, real)]
        own_space = space_mask("order", *arguments, SCHEMA)
        assert type(own_space) is type(arguments[0]) or convert is jnp.asarray
        np.testing.assert_array_equal(own_space, expected["click"])
        for space, mask in expected.items():
            np.testing.assert_array_equal(
                space_mask("order", *arguments, SCHEMA, space=space), mask
            )
    np.testing.assert_array_equal(
        space_mask("click", labels, label_mask, real, SCHEMA), real & known
    )


def test_errors_name_what_is_wrong():
    arrays = np.zeros((3, 2)), np.ones((3, 2), bool), np.ones(3, bool)
    with pytest.raises(UserError, match=r"unknown task 'clik'.*Did you mean 'click'"):
        space_mask("clik", *arrays, SCHEMA)
    with pytest.raises(UserError, match="unknown space 'al'"):
        space_mask("click", *arrays, SCHEMA, "al")
    wide = jnp.zeros((3, 3)), jnp.ones((3, 3), bool), jnp.ones(3, bool)
    with pytest.raises(ValueError, match="labels has 3 columns, expected 2: click"):
        row_weights(*wide, None, SCHEMA)
