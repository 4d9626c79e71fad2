"""Keeps compiled programs on disk, so that a command's next start need not compile them again.

JAX's persistent cache does the keeping. Its key has the program, the versions, XLA's flags and the
accelerator, but not the kind of CPU: so each kind has a folder of its own, where several machines
share a home.

JAX is imported late here, because the tests take from this file what they tell JAX at its import.
"""

from __future__ import annotations

import hashlib
import pathlib
import platform
import tempfile

from dtn_jax.places import cache_folder

OFF = "none"
SHORTEST = 0.1  # seconds; what compiles faster is not kept


def use(given: str = "") -> None:
    """Tells JAX where to keep compiled programs; warns where the folder cannot be written.

    Args:
      given: --cache_dir; '': where JAX was told already, or in the user's cache folder; 'none':
        nowhere.
    """
    import jax

    if not given and jax.config.jax_compilation_cache_dir:
        return
    if given == OFF:
        jax.config.update("jax_compilation_cache_dir", None)
        return
    root = pathlib.Path(given or cache_folder() / "compiled").expanduser().absolute()
    folder = root / processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # it can be written
            pass
    except OSError as error:
        jax.config.update("jax_compilation_cache_dir", None)
        print(
            f"warning: compiled programs are not kept, {root} cannot be written "
            f"({error.strerror}); --cache_dir=DIR names another folder, --cache_dir={OFF} none"
        )
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SHORTEST)


def processor() -> str:
    """The kind of CPU that programs are compiled for: 'x86_64-' and a hash of what it can do."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        features = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        features = platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:8]}"
