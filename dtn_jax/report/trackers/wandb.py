"""Weights & Biases: offline, in the workdir's folder `wandb`, unless WANDB_MODE says otherwise."""

from __future__ import annotations

import os
import pathlib
import uuid
from collections.abc import Mapping, Sequence

from dtn_jax.report.trackers.tracker import final, numbers
from dtn_jax.shared_files import write_whole

PROJECT = "dtn_jax"  # unless WANDB_PROJECT names one
QUIET = {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}


class WandB:
    """A run of W&B; a resumed one goes on with it, by the id that is kept in the workdir."""

    def __init__(self, folder: pathlib.Path, config: Mapping, step: int):
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        import wandb

        own = folder / "wandb"
        own.mkdir(exist_ok=True)
        kept = own / "run_id"
        known = kept.exists()
        identifier = kept.read_text().strip() if known else uuid.uuid4().hex[:16]
        mode = os.environ.get("WANDB_MODE", "offline")
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            dir=str(folder),
            id=identifier,
            name=folder.name,
            config=dict(config),
            mode=mode,
            resume="allow" if known and mode == "online" else None,
            reinit="create_new",
            settings=wandb.Settings(console="off", disable_git=True, disable_code=True),
        )
        # A resumed run logs some steps again, which W&B's own counter would refuse.
        self.run.define_metric("*", step_metric="step")
        if not known:
            write_whole(kept, identifier)

    def log(self, record: Mapping) -> None:
        self.run.log({**numbers(record), "step": record["step"]})

    def finish(self, results: Mapping, files: Sequence[pathlib.Path]) -> None:
        self.run.summary.update(dict(final(results)))
        for path in files:
            self.run.save(str(path), base_path=str(path.parent), policy="now")

    def close(self) -> None:
        self.run.finish()
