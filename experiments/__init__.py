"""The commands. One that begins, `python -m experiments.NAME`, answers to Ctrl-C from here on.

It says at once which packages are missing.
"""

import sys

if sys.argv[:1] == ["-m"]:  # so it is until Python has found the module NAME
    from dtn_jax.parallel import interrupts

    interrupts.at_once()
    if not any(word.startswith("experiments.peers.") for word in sys.orig_argv):
        # (rivals have an environment of their own)
        from dtn_jax.errors import leave_unless_installed

        leave_unless_installed()
