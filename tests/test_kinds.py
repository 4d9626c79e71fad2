"""What the package itself has of each kind is as a plug-in's must be."""

import dataclasses

import pytest

from dtn_jax.config.plugins import KINDS
from dtn_jax.metrics import METRICS


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_package_has_lacks_nothing(kind):
    lacking = {name: KINDS[kind].wrong(name, own) for name, own in KINDS[kind].known.items()}
    assert KINDS[kind].known
    assert not {name: wrong for name, wrong in lacking.items() if wrong}


def test_a_format_that_is_none_is_told():
    wrong = dataclasses.replace(METRICS["auc"], format="zz")
    assert "its format 'zz' is none" in KINDS["METRICS"].wrong("auc", wrong)
