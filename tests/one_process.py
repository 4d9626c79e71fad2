"""A process of the runs in test_processes.py: trains the config of small_runs, cut at a step.

python one_process.py WORKDIR DATA_DIR HOST:PORT,COUNT,INDEX DEVICES CUT_AT CHANGES [SIGNAL]

CHANGES is a JSON object of options, such as {"parallel__strategy": "pmap"}. With a SIGNAL the run
goes on at that step, after the last process has sent it to itself and JAX has had time to hear it.
"""

import json
import os
import signal
import sys
import time

import jax
from small_runs import small

from dtn_jax.config import plugins
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.train import train

workdir, data_dir, processes, devices, cut_at, changes, *name = sys.argv[1:]
jax.config.update("jax_num_cpu_devices", int(devices))
save = Checkpoints.save


def save_and_end(self, step, *args):
    save(self, step, *args)
    if step == int(cut_at) and not name:
        sys.exit(0)
    if step == int(cut_at):
        if jax.process_index() == jax.process_count() - 1:
            os.kill(os.getpid(), getattr(signal, *name))
        time.sleep(3)


Checkpoints.save = save_and_end
changes = json.loads(changes)
changes["plugins"] = plugins.load(changes.get("plugins", ""))
config = small(
    data_dir, parallel__processes=processes, parallel__devices=0, data__placement="auto", **changes
)
train(config, workdir, preemptible=bool(name))
