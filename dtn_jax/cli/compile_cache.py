"""Keeps compiled programs on disk, so that a command's next start need not compile them again.

JAX's persistent cache does the keeping. Its key has the program, the versions, XLA's flags and the
accelerator, or what the CPU can do: machines of several kinds may share a folder.

JAX is not imported here, which takes a second: where it is not yet, the environment tells it.
"""

from __future__ import annotations

import os
import pathlib
import sys
import tempfile

from dtn_jax.places import cache_folder

OFF = "none"
FOLDER = "jax_compilation_cache_dir"
SHORTEST = 0.1  # seconds; what compiles faster is not kept


def use(given: str = "") -> None:
    """Tells JAX where to keep compiled programs; warns where the folder cannot be written.

    Args:
      given: --cache_dir; '': where JAX was told already, or in the user's cache folder; 'none':
        nowhere.
    """
    jax = sys.modules.get("jax")
    if not given and (getattr(jax.config, FOLDER) if jax else os.environ.get(FOLDER.upper())):
        return
    folder = pathlib.Path(given or cache_folder() / "compiled").expanduser().absolute()
    try:
        if given != OFF:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):  # it can be written
                pass
    except OSError as error:
        given = OFF
        print(
            f"warning: compiled programs are not kept, {folder} cannot be written "
            f"({error.strerror}); --cache_dir=DIR names another folder, --cache_dir={OFF} none"
        )
    tell(FOLDER, None if given == OFF else str(folder))
    tell("jax_persistent_cache_min_compile_time_secs", SHORTEST)


def tell(name: str, value: str | float | None) -> None:
    """Sets an option of JAX; None takes it back."""
    if "jax" in sys.modules:
        sys.modules["jax"].config.update(name, value)
    elif value is None:
        os.environ.pop(name.upper(), None)
    else:
        os.environ[name.upper()] = str(value)
