"""Keeps compiled programs on disk, so that a command's next start need not compile them again.

JAX's persistent cache does the keeping. Its key has the program, the versions, XLA's flags and the
accelerator, but not the kind of CPU: so each kind has a folder of its own, where several machines
share a home.

JAX is imported late here, because the tests take from this file what they tell JAX at its import.
"""

from __future__ import annotations

import contextlib
import hashlib
import pathlib
import platform
import tempfile

from dtn_jax.files import cache_folder

OFF = "none"
LARGEST = 1e9  # bytes, of the folder; a DTN on adult takes 1 MB
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
            delete_oldest(folder, LARGEST)
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


def delete_oldest(folder: pathlib.Path, largest: float) -> None:
    """Deletes the files that were used longest ago until the rest has `largest` bytes.

    Several processes may do so at once, and others read and write meanwhile.
    """
    found = []
    for path in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            found.append((max(stat.st_atime, stat.st_mtime), stat.st_size, path))
    kept = 0
    for _, size, path in sorted(found, reverse=True):
        kept += size
        if kept > largest:
            path.unlink(missing_ok=True)
