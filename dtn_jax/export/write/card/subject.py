"""What a card is about."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from dtn_jax.export.model_folder import Facts
from dtn_jax.export.write.size import Size
from dtn_jax.schema import Schema


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model that is being exported.

    Attributes:
      schema: of its fields and tasks.
      facts: what model.json says.
      manifest: what the manifest says beside the files.
      outputs: the columns of its scores.
      size: of the model.
      unseen: {field: what to say of it}, of fixed values that train has not shown.
      stored: validation with tables as trained and as stored, of measured.json; {} where those
        are the same.
    """

    schema: Schema
    facts: Facts
    manifest: Mapping
    outputs: tuple[str, ...]
    size: Size
    unseen: Mapping[str, str]
    stored: Mapping
