"""What a run that starts from another one keeps of that."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Started:
    """What a run starts from: `train.start_from`.

    Attributes:
      workdir: of the other run.
      step: its last one, which `State.step` counts on from.
      fingerprint: of its data set.
    """

    workdir: str
    step: int
    fingerprint: str
