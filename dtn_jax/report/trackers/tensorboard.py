"""TensorBoard's events, in the workdir's folder `tensorboard`."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence

from tensorboardX import SummaryWriter

from dtn_jax.report.trackers.tracker import final, numbers


class TensorBoard:
    """A resumed run hides the events after its checkpoint, which come again."""

    def __init__(self, folder: pathlib.Path, config: Mapping, step: int):
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        if not step:
            self.writer.add_text("config", f"    {json.dumps(config, indent=1, default=str)}")

    def log(self, record: Mapping) -> None:
        for name, value in numbers(record).items():
            self.writer.add_scalar(name, value, record["step"])

    def finish(self, results: Mapping, files: Sequence[pathlib.Path]) -> None:
        for name, value in final(results):
            self.writer.add_scalar(name, value, results["steps"])

    def close(self) -> None:
        self.writer.close()
