"""Why a folder cannot be a run's."""

from __future__ import annotations

from dtn_jax.errors import UserError


class Busy(UserError):
    """Another process works in the folder."""


class Unusable(UserError):
    """The folder is another run's, holds other things, is damaged, or cannot be written."""
