"""What goes wrong while a model is built, told with its name and a plug-in's line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ml_collections import FrozenConfigDict

from dtn_jax.config import plugins
from dtn_jax.errors import UserError

SHOWN = 300  # characters of JAX's messages, which can fill pages


@contextlib.contextmanager
def told_as_built(config: FrozenConfigDict, traced: bool = False) -> Iterator[None]:
    """What is raised inside becomes a UserError that names the model, and a plug-in's line.

    Before the model is `traced`, a UserError is of an option, and says so itself.
    """
    try:
        yield
    except Exception as error:  # whatever a file of the user's, or JAX, may raise
        told = isinstance(error, UserError)
        if told and not traced:
            raise
        reason = str(error) if told else f"{type(error).__name__}: {str(error)[:SHOWN]}"
        reason = reason.partition("\n----")[0]  # JAX's remark on its traceback
        raise UserError(
            f"architecture {config.model.architecture!r} with experts {config.model.experts!r} "
            f"cannot be built{plugins.place_of(error)}: {reason}"
            + ("" if told else " (--debug shows where)")
        ) from error
