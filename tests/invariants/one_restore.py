"""A process that saves a state of drawn_states, or restores it and prints what memory that took.

python one_restore.py WORKDIR save|restore PLATFORM ITEMS WIDTH

`restore` prints the bytes of the tables, and by how many the process grew at most and at the end.
"""

import pathlib
import sys

import jax
from drawn_states import drawn, placed

from dtn_jax.run.checkpoint import Checkpoints


def bytes_of(key):
    """Of this process, by Linux: VmRSS is what it has in memory, VmHWM the most it had."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) * 1024


workdir, what, platform, items, width = sys.argv[1:]
changes = {
    "model__embedding_dim": int(width),
    "optim__tables": "sgd",
    "parallel__devices": 1,
    "parallel__table_platform": platform,
}
plan, places = placed(int(items), **changes)
checkpoints = Checkpoints(pathlib.Path(workdir), plan)
if what == "save":
    checkpoints.save(1, drawn(int(items), **changes).state, {"best": {}})
else:
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the most counts from here on
    before = bytes_of("VmRSS")
    state, _ = checkpoints.restore(places)
    jax.block_until_ready(state.tables)
    held = sum(table.nbytes for table in state.tables.values())
    print(held, bytes_of("VmHWM") - before, bytes_of("VmRSS") - before)
checkpoints.close()
