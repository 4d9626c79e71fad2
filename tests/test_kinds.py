"""What the package itself has of each kind is as a plug-in's must be."""

import pytest

from dtn_jax.config.plugins import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_package_has_lacks_nothing(kind):
    lacking = {name: KINDS[kind].wrong(name, own) for name, own in KINDS[kind].known.items()}
    assert KINDS[kind].known
    assert not {name: wrong for name, wrong in lacking.items() if wrong}
