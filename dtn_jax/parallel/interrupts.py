"""Ctrl-C, from a command's first moment to its last: exit code 130 and a message, within a second.

Python's own handler raises KeyboardInterrupt wherever the main thread happens to be. During imports
that may be in a callback whose exceptions are dropped, and the interruption with them. And it runs
between two instructions of Python, so a compiler that works for minutes holds it up. So here a
command ends at once while it begins or is done; in between KeyboardInterrupt is raised, and where
the main thread does not come to that, a second thread ends the process.

This module imports nothing of the package: it is the first that a command imports.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

CODE = 130  # as shells have it: 128 and the signal's number
GRACE = 0.7  # seconds that the main thread has to notice
CURSOR = b"\x1b[?25h"  # shows the cursor, which a progress bar hides

_message = "interrupted"
_noticed = threading.Event()
_watched = False


def at_once() -> None:
    """From now on Ctrl-C ends the process at once: there is nothing to put in order."""
    _handle(_end_here)


@contextlib.contextmanager
def raised(message: str = "interrupted") -> Iterator[None]:
    """Inside Ctrl-C raises KeyboardInterrupt; after it Ctrl-C does what it did before.

    Args:
      message: what is said where the main thread does not come to raise it.
    """
    global _message
    before, _message_before = signal.getsignal(signal.SIGINT), _message
    _message = message
    handled = _handle(_raise)
    try:
        yield
    finally:
        _message = _message_before
        if handled:
            signal.signal(signal.SIGINT, before)


def end(message: str) -> None:
    """Ends the process with the message; what it had begun stays as it is on disk."""
    with contextlib.suppress(Exception):
        if os.isatty(1):
            os.write(1, CURSOR)
        os.write(2, message.encode() + b"\n")
    os._exit(CODE)


def _handle(handler) -> bool:
    """Sets the handler, unless Ctrl-C is ignored, as under nohup, or this is another thread."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
        return False
    signal.signal(signal.SIGINT, handler)
    _watch()
    return True


def _end_here(*_) -> None:
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    end(_message)


def _raise(*_) -> None:
    _noticed.set()
    raise KeyboardInterrupt


def _watch() -> None:
    """Starts the thread that sees every signal as it comes, whatever the main thread does."""
    global _watched
    if _watched:
        return
    _watched = True
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))  # the pipe is the parent's
    threading.Thread(target=_wait, args=(read,), name="interrupts", daemon=True).start()


def _wait(read: int) -> None:
    while came := os.read(read, 1):
        ours = signal.getsignal(signal.SIGINT) in (_raise, _end_here)
        if came[0] == signal.SIGINT and ours:
            if not _noticed.wait(GRACE):
                end(_message)
            _noticed.clear()
