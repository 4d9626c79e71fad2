"""The training step of DTN at the released sizes on an accelerator, in bfloat16 and float32.

Rates as in the suite `step`, beside that of a large matrix product of the same dtype; batches
above the released 1024 show how much of the device is left idle there.
"""

from __future__ import annotations

import jax

from dtn_jax.errors import UserError

from .measured import Goal, Measured, Options
from .step import NOTE, measure_step, released_config

EXPERTS = ("gdcn+masknet", "gdcn+masknet+hcnet")
BATCHES = (1024, 8192, 32768)
SHARE = 0.40  # of the device's bfloat16 rate, at the released batch


def measure(options: Options) -> Measured:
    """Raises: UserError where there is no accelerator, unless only asked whether it runs."""
    if jax.default_backend() == "cpu" and not options.quick:
        raise UserError("the suite gpu needs a GPU or TPU; JAX sees CPUs alone (extras gpu, tpu)")
    rows, goals = [], []
    for experts in EXPERTS:
        for dtype in ("bfloat16", "float32"):
            for batch_size in (32,) if options.quick else BATCHES:
                config = released_config(experts, dtype, options.quick)
                config.data.batch_size = batch_size
                row = measure_step(config, options)
                per_second = 1e3 * batch_size / row["ms a step"]
                rows.append(
                    {"experts": experts, "dtype": dtype, "batch": batch_size, **row}
                    | {"examples/s": per_second}
                )
                if dtype == "bfloat16" and batch_size in (32, BATCHES[0]):
                    name = f"{experts}, bfloat16, batch {batch_size}, share of the product rate"
                    goals.append(Goal(name, SHARE, row["share"]))
    return Measured("a training step of DTN at the released sizes", rows, goals, [NOTE])
