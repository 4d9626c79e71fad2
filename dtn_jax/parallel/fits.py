"""Whether a run fits in memory, told before anything of it is compiled."""

from __future__ import annotations

import jax

from dtn_jax.parallel import memory
from dtn_jax.parallel.footprint import WIDTHS, state_parts, step_part
from dtn_jax.run.run import Run

LOWER = f"data.batch_size, data.eval_batch_size, {WIDTHS}"


def check_fits(run: Run, replicas: int = 1, trains: bool = True) -> None:
    """Raises OutOfMemory where the run holds more than there is, if `parallel.check_memory` is on.

    Args:
      run: of which nothing is made yet.
      replicas: that are trained in one program.
      trains: or it only scores.
    """
    if not run.config.parallel.check_memory:
        return
    own = run.at.mesh.local_devices
    parts = held(run, replicas, trains)
    memory.check([p.times(len(own), p.lower) for p in parts], own)


def held(run: Run, replicas: int = 1, trains: bool = True) -> list[memory.Part]:
    """What a run holds on one device, as far as it is known before anything is compiled.

    Args: as `check_fits`.
    """
    config, at = run.config, run.at
    state = run.state_places if trains else run.state_places.to_score()
    row_bytes = run.data.row_bytes(run.grouped)
    parts = state_parts(config, state, run.plan)
    parts.append(step_part(config, run.plan, row_bytes, at.mesh.size))
    if replicas > 1:
        parts = [p.times(replicas, f"replicas; {p.lower}") for p in parts]
    if trains and is_resident(run):
        rows = run.data.rows["train"]  # once for all replicas
        lower = "data.placement=stream, or less data.device_bytes"
        parts.append(memory.Part(f"{rows:,} rows of train", rows * row_bytes, lower))
    return parts


def is_resident(run: Run) -> bool:
    """Whether the train split is placed on the device."""
    if run.config.data.placement != "auto":
        return run.config.data.placement == "device"
    size = run.data.rows["train"] * run.data.row_bytes(run.grouped)
    return size <= run.config.data.device_bytes and jax.process_count() == 1
