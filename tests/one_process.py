"""A process of the runs in test_processes.py: trains the config of small_runs, cut at a step.

python one_process.py WORKDIR DATA_DIR HOST:PORT,COUNT,INDEX DEVICES CUT_AT CHANGES

CHANGES is a JSON object of options, such as {"parallel__strategy": "pmap"}.
"""

import json
import sys

import jax
from small_runs import small

from dtn_jax.config import plugins
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.train import train

workdir, data_dir, processes, devices, cut_at, changes = sys.argv[1:]
jax.config.update("jax_num_cpu_devices", int(devices))
save = Checkpoints.save


def save_and_end(self, step, *args):
    save(self, step, *args)
    if step == int(cut_at):
        sys.exit(0)


Checkpoints.save = save_and_end
changes = json.loads(changes)
changes["plugins"] = plugins.load(changes.get("plugins", ""))
config = small(
    data_dir,
    parallel__processes=processes,
    parallel__devices=0,
    data__placement="auto",
    **changes,
)
train(config, workdir)
