"""Says which slice a training run needs: TPUs or GPUs that hold it, and hours of an epoch on them.

The config's own training step is compiled here, for simulated devices; what it takes on other
devices is computed from that (dtn_jax/plan.py says how). Nothing is trained, and no accelerator is
needed. Each device has data.batch_size examples in a step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from dtn_jax.cli import command
from dtn_jax.report import screen

EXAMPLE = (
    "dtn-jax plan --config=configs/adult.py:dtn --rows=2e9 --table_rows=1e9 --device=v5p,h100 "
    "--hours=8"
)
NAMES = command.constant("plan", "DEVICES")
OPTIONS = {
    "rows=N": "training rows of an epoch (default: the data set's)",
    "table_rows=N": "rows of all tables (default: the data set's)",
    "device=NAMES": "by comma",
    "hours=H": "that an epoch may take",
}
CONFIG = True
SHARED = command.DATA


DEFAULTS = {"rows": float, "table_rows": float, "device": ",".join(NAMES), "hours": 24.0}
RANGES = {"rows": (1, 1e18), "table_rows": (1, 1e18), "hours": (0.001, 1e6)}
CHOICES = {"device": NAMES}


def main(arguments: Sequence[str]) -> None:
    known, rest = command.parse(__name__, arguments)
    import jax  # after --help
    from ml_collections import ConfigDict

    from dtn_jax import plan
    from dtn_jax.run.run import build_run

    rows, table_rows, hours = int(known.rows or 0), int(known.table_rows or 0), known.hours
    config = command.read_config(known.config, rest)
    with contextlib.suppress(RuntimeError):  # JAX has found its devices already
        jax.config.update("jax_num_cpu_devices", plan.SIMULATED)
        jax.config.update("jax_platforms", "cpu")
    config.parallel.devices, config.parallel.table_devices = 1, 0
    run = build_run(config)
    config, schema = ConfigDict(run.config.to_dict()), plan.with_table_rows(run.schema, table_rows)
    rows, model = rows or run.data.rows["train"], config.model
    screen.say(
        f"{model.architecture} on {schema.name}, {len(schema.fields)} fields, embeddings of "
        f"{model.embedding_dim} numbers, {config.data.batch_size:,} examples per device and step: "
        f"{rows:,.3g} training rows in {hours:g} h per epoch, "
        f"{sum(schema.tables().values()):,.3g} table rows\n"
    )
    compiled = {}
    for name in map(str.strip, known.device.split(",")):
        platform = plan.DEVICES[name].platform
        if platform not in compiled:
            compiled[platform] = plan.extrapolate(config, schema, platform)
        screen.show(plan.grid(name, compiled[platform], rows, hours).terminal(), least=80)
        screen.say("")
    size = next(iter(compiled.values())).checkpoint / 1e9
    screen.say(f"A checkpoint has {size:,.3g} GB. Nothing ran there. Assumed:")
    for assumption in plan.ASSUMED:
        screen.say(f"- {assumption}")
