"""One folder of compiled programs for all tests: every worker and child, kept between runs.

JAX's persistent cache does the keeping. It is the environment that says where, so that processes
which tests start use it too.
"""

import contextlib
import os
import pathlib

LARGEST = 500e6  # bytes, far above what one version of the code needs


def folder() -> str:
    """In the user's cache folder, so that fresh clones find it."""
    if given := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return given
    root = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    return str(root / "dtn_jax_tests/compiled")


def simulated(devices: int) -> str:
    """The flag for so many devices on one CPU."""
    return f"--xla_force_host_platform_device_count={devices}"


def with_flags(*flags: str) -> str:
    """XLA_FLAGS with these in place of others of their names.

    In one order, the same in workers, since the flags are part of a key.
    """
    names = {flag.partition("=")[0] for flag in flags}
    given = os.environ.get("XLA_FLAGS", "").split()
    return " ".join([*(f for f in given if f.partition("=")[0] not in names), *flags])


def write_whole(self, key: str, value: bytes) -> None:
    """JAX's LRUCache.put, but no reader meets half a file, nor keeps a damaged one."""
    path = self.path / f"{key}-cache"
    part = path.with_name(f"{key[-64:]}.{os.getpid()}.part")
    part.write_bytes(value)
    part.replace(path)


def delete_oldest(kept: pathlib.Path) -> None:
    """Deletes the files that were used longest ago until the rest has LARGEST bytes."""
    files = []
    for path in kept.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            files.append((max(stat.st_atime, stat.st_mtime), stat.st_size, path))
    size = 0
    for _, own, path in sorted(files, reverse=True):
        size += own
        if size > LARGEST:
            path.unlink(missing_ok=True)
