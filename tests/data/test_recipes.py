"""Recipes change only with the rules by which sets are prepared: those that are there stay good."""

import pytest

from dtn_jax.datasets.preparation import catalog


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("adult", "8b36f1844913f016f3b09f19429cf40bd7ae9a927fbcb3e087d062d32aa66761"),
        ("synthetic", "f9f226339afbc018df310eaf355b11714bebd7323adfe49cddaf04e4eb4a18f2"),
        ("ali_ccp", "3d76e22eeb40c3ec7c2da1c2be64fe1b08fc0704de614ee174ab2d012fc278eb"),
    ],
)
def test_sets_of_the_versions_before_are_still_read(name, recipe, tmp_path):
    """A new rule moves a number here on purpose; a new attribute of a task or a field must not."""
    assert catalog.make_builder(name, "", str(tmp_path), str(tmp_path)).recipe() == recipe
