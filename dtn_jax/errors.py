"""The one exception for wrong input, how the most common one is worded, and what a disk says."""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib.util
import os
import pathlib
import sys
import traceback
from collections.abc import Iterable, Iterator

TO_SCORE = "pip install jax numpy polars pyarrow safetensors flatbuffers"  # and no more
THIS_ALONE = "pip install --no-deps ."  # dtn_jax itself, in a clone
WHOLE = "pip install -e ."  # in a clone, with all that commands need
COMMANDS_NEED = (
    *("array_record", "duckdb", "flatbuffers", "flax", "jax", "jaxtyping", "jinja2", "matplotlib"),
    *("ml_collections", "numpy", "optax", "optuna", "orbax", "polars", "pyarrow", "pydantic"),
    *("rich", "safetensors", "sklearn", "tensorboardX", "tensorflow_datasets", "tensorstore"),
    "yaml",
)


class UserError(ValueError):
    """The input is wrong, not the program: shown without a traceback."""


def leave_unless_installed() -> None:
    """Ends the process, with code 2, where a package that every command needs is not there."""
    missing = [name for name in COMMANDS_NEED if importlib.util.find_spec(name) is None]
    if not missing:
        return
    print(
        f"error: commands need packages that are not installed here: {', '.join(missing)}. In a "
        f"clone of dtn_jax, {WHOLE} installs all of them. dtn_jax.export scores in Python with "
        f"less: {TO_SCORE}",
        file=sys.stderr,
    )
    sys.exit(2)


LONG, MANY = 60, 40  # characters of a name, and names, that a message shows


def listed(names: Iterable[str]) -> str:
    """Names for a message: long ones cut, and of many the first."""
    names = list(names)
    shown = [name if len(name) <= LONG else f"{name[:LONG]}…" for name in names[:MANY]]
    return ", ".join(shown) + (f", … ({len(names) - MANY:,} more)" if len(names) > MANY else "")


def choose(what: str, got: str, choices: Iterable[str], between: str = ", ") -> str:
    """Returns `got` when it is one of `choices`; otherwise raises a UserError that lists them."""
    choices = list(dict.fromkeys(choices))
    if got in choices:
        return got
    lower = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(str(got).lower(), lower, n=3)
    near.sort(key=lambda word: sorted(word) != sorted(str(got).lower()))  # letters swapped first
    hint = f" Did you mean {lower[near[0]]!r}?" if near else ""
    raise UserError(f"unknown {what} {got!r}.{hint} The choices are: {between.join(choices)}.")


RETRAIN = "delete results.json, and the command that trained the run writes it again"  # remedy
ROOM = "make room, and the same command goes on: what was saved before is whole"
PLACE = "name a place that can be written"
KIND = "a file stands where a folder is expected, or a folder where a file is: move it away"
REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), ROOM),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), PLACE),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST, errno.EISDIR), KIND),
    errno.EFBIG: "choose a disk that takes larger files",
    errno.EIO: "look at the disk, which may be failing",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "a link stands where a file or a folder is expected: delete the link",
}


@contextlib.contextmanager
def disk_errors(path: pathlib.Path) -> Iterator[None]:
    """What libraries raise inside where the disk fails them becomes an OSError that has a path."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        named = isinstance(error, OSError) and error.filename
        text = f"{error} {error.__cause__}"
        for number in REMEDIES:
            if os.strerror(number) in text and not named:
                raise OSError(number, os.strerror(number), str(path)) from error
        raise


def told(error: OSError) -> str:
    """What to say of a file that cannot be read or written, and what to do."""
    named = error.filename2 or error.filename  # of a file that is moved, where it was to go
    name = os.fsdecode(named) if isinstance(named, str | bytes) else ""
    text = f"{name}: {error.strerror}" if name else error.strerror or str(error)
    return f"{text}; {REMEDIES.get(error.errno, '--debug shows where')}"


@contextlib.contextmanager
def told_as_failed(path: pathlib.Path, what: str) -> Iterator[None]:
    """Whatever a user's file raises inside becomes a UserError that says where."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise failed(path.absolute(), what, error) from error


def failed(path: pathlib.Path, what: str, error: BaseException) -> UserError:
    """The message of a user's file that raised."""
    line = last_line(path, error)
    if isinstance(error, SyntaxError) and error.lineno:
        line = error.lineno
    reason = f"{type(error).__name__}: {error}"
    where = f", line {line}" if line else ""
    return UserError(f"{what} {path} fails{where}: {reason} (--debug shows where)")


def last_line(path: pathlib.Path, error: BaseException) -> int | None:
    """The line of a file in which an error was raised, or that called what raised it."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return frames[-1].lineno if frames else None


def reason(error: Exception) -> str:
    """What a run died of; what no user can mend is shown with its traceback."""
    if isinstance(error, UserError | OSError):
        return str(error)
    traceback.print_exc()
    return f"{type(error).__name__}: {error}"
