"""A model that is ready to serve, with what answers say of it."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

from dtn_jax import export
from dtn_jax.export import model_folder
from dtn_jax.export.model import Model
from dtn_jax.export.serve import description
from dtn_jax.export.serve.reading import Reading, read


@dataclasses.dataclass(frozen=True)
class Loaded:
    """One model.

    Attributes:
      model: its programs may still have to be compiled.
      reading: what it reads from rows.
      id: of its manifest, 12 hexadecimal digits of its SHA-256.
      made: when the folder was made.
      description: what GET /schema says.
    """

    model: Model
    reading: Reading
    id: str
    made: str
    description: Mapping[str, Any]

    @property
    def headers(self) -> dict[str, str]:
        return {"x-model-id": self.id, "x-model-date": self.made}

    def warm(self) -> tuple[int, ...]:
        """Compiles the programs of all batch sizes, and encodes a row; returns the sizes."""
        sizes = self.model.compile()
        self.model.score(self.description["example"]["rows"])
        return sizes


def load(folder: pathlib.Path, max_batch: int, tables: str = "memory") -> Loaded:
    """Opens a model, all of its files verified.

    Args:
      folder: of the model.
      max_batch: rows of a call at most.
      tables: see `dtn_jax.export.load`.

    Raises:
      UserError: see `dtn_jax.export.load`.
    """
    model = export.load(folder, tables=tables, largest=max_batch)
    reading = read(model)
    id = hashlib.sha256((folder / model_folder.MANIFEST).read_bytes()).hexdigest()[:12]
    made = str(model.manifest.get("made", "unknown"))[:40]
    made = made if made.isascii() and made.isprintable() else "unknown"
    told = {"id": id, "made": made, **description.describe(model, reading)}
    return Loaded(model, reading, id, made, told)
