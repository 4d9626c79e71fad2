"""What libraries print of a failure beside the exception that they raise: left out.

When a checkpoint cannot be written, Orbax raises the first fault of hundreds of writes. The others
end later, each with a traceback of an event loop that is closed by then.
"""

from __future__ import annotations

import asyncio.base_events
import logging
import sys
import traceback
import types

LOOPS = asyncio.base_events.__file__
LOGGED = "_SignalingThread.run() raised an exception"  # what Orbax logs and then raises
LOST = "Task exception was never retrieved"  # what an event loop logs of a task that none awaits
WRITES = "async_serialize"  # of Orbax: coroutines that are never finished


def listen() -> None:
    """From now on that is not printed."""
    if sys.excepthook is not excepthook:
        excepthook.before, sys.excepthook = sys.excepthook, excepthook
    for name in ("absl", "asyncio"):
        logging.getLogger(name).addFilter(told)


def excepthook(kind: type[BaseException], error: BaseException, trace) -> None:
    """As Python's own, without callbacks for a closed event loop: TensorStore prints them so."""
    if not is_late(error, trace):
        excepthook.before(kind, error, trace)


excepthook.before = sys.__excepthook__


def is_late(error: BaseException | None, trace: types.TracebackType | None) -> bool:
    """Whether an error is that of a callback which came after its event loop was closed."""
    places = {frame.f_code.co_filename for frame, _ in traceback.walk_tb(trace)}
    is_closed = isinstance(error, RuntimeError) and str(error) == "Event loop is closed"
    return is_closed and places <= {LOOPS}


def is_leftover(lost) -> bool:
    """Whether what `sys.unraisablehook` is given is of a write that was given up."""
    name = getattr(lost.object, "__qualname__", "")
    return name.startswith(WRITES) or is_late(lost.exc_value, lost.exc_traceback)


def told(record: logging.LogRecord) -> bool:
    """Whether a line of a log is not of a write whose first fault is raised."""
    text = record.getMessage()
    return LOGGED not in text and not (text.startswith(LOST) and WRITES in text)
