"""What one request, and all of them together, may ask for.

The command's options are made of it, which are shown where the extra [serve] is not installed.
"""

from __future__ import annotations

import dataclasses

from dtn_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Limits:
    """Each is a bound on memory or time that a client could otherwise take.

    Attributes:
      body_mb: MiB of a request's body.
      rows: of a request.
      connections: at once; uvicorn answers more with 503.
      max_batch: rows that share a call, a power of two.
      stop_seconds: what is accepted has this long to be answered when the server stops.
    """

    body_mb: int = 8
    rows: int = 10_000
    connections: int = 1000
    max_batch: int = 1024
    stop_seconds: float = 10.0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            least = 1 if field.type == "int" else 0.1
            if not least <= value < 1e9:
                raise UserError(f"{field.name}={value}, expected {least} or more")
        if self.max_batch & (self.max_batch - 1) or self.max_batch < 8:
            raise UserError(f"max_batch={self.max_batch}, expected a power of two, 8 or more")
