"""The commands. One that begins, `python -m experiments.NAME`, answers to Ctrl-C from here on.

It says at once which packages are missing.
"""

import sys

if sys.argv[:1] == ["-m"]:  # so it is until Python has found the module NAME
    from dtn_jax.parallel import interrupts

    interrupts.at_once()
    bare = ("experiments.peers.", "experiments.benchmark")  # in environments of their own
    if not any(word.startswith(bare) for word in sys.orig_argv):
        from dtn_jax.errors import leave_unless_installed

        leave_unless_installed()
