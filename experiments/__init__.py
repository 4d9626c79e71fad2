"""The commands. One that begins, `python -m experiments.NAME`, answers to Ctrl-C from here on."""

import sys

if sys.argv[:1] == ["-m"]:  # so it is until Python has found the module NAME
    from dtn_jax.parallel import interrupts

    interrupts.at_once()
