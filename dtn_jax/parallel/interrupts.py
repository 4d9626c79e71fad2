"""Ctrl-C and SIGTERM, from a command's first moment to its last: an exit code and a message.

Python runs a signal's handler between two of its instructions, so a compiler that works for minutes
holds it up. Here a second thread sees each signal as it comes. SIGTERM ends the process at once,
with the code 143, and so does Ctrl-C, with 130, while a command begins or imports; else
KeyboardInterrupt is raised, and where the main thread does not come to that, the second thread ends
the process. A run that trains has both `noted`, and is saved first.

This module imports nothing of the package: it is the first that a command imports.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator

CODE, TERMINATED = 130, 143  # as shells have it: 128 and the signal's number
GRACE = 0.7  # seconds that the main thread has to notice
CURSOR = b"\x1b[?25h"  # shows the cursor, which a progress bar hides
FIRST = b"\nsaving the steps in flight first; Ctrl-C again ends at once\n"

_message = "interrupted"
_noticed = threading.Event()
_watched = False
_came = 0  # the first signal that was noted


def at_once() -> None:
    """From now on Ctrl-C and SIGTERM end the process: there is nothing to put in order."""
    _handle(_end_here, signal.SIGINT)
    _handle(_end_here, signal.SIGTERM)


@contextlib.contextmanager
def raised(message: str = "interrupted") -> Iterator[None]:
    """Inside Ctrl-C raises KeyboardInterrupt; after it Ctrl-C does what it did before.

    Args:
      message: what is said where the main thread does not come to raise it, and after SIGTERM.
    """
    global _message
    before, message_before = signal.getsignal(signal.SIGINT), _message
    _message = message
    handled = _handle(_raise, signal.SIGINT)
    try:
        yield
    finally:
        _message = message_before
        if handled:
            signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def noted(*others: int) -> Iterator[Callable[[], int]]:
    """Inside, Ctrl-C and these other signals do nothing but be noted; a Ctrl-C after one of them
    ends the process at once. Gives what tells the first that came; 0 is none."""
    global _came
    _came = 0
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *others)}
    handled = [number for number in before if _handle(_note, number)]
    try:
        yield lambda: _came
    finally:
        for number in handled:
            signal.signal(number, before[number])


def end(number: int = signal.SIGINT) -> None:
    """Ends the process with the message; what it had begun stays as it is on disk."""
    message = _message.replace("interrupted", "terminated") if number != signal.SIGINT else _message
    with contextlib.suppress(Exception):
        if os.isatty(1):
            os.write(1, CURSOR)
        os.write(2, message.encode() + b"\n")
    os._exit(128 + number)


def _handle(handler, number: int) -> bool:
    """Sets the handler, unless the signal is ignored, as Ctrl-C under nohup, or this is another
    thread."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(number) in (signal.SIG_IGN, None):
        return False
    signal.signal(number, handler)
    _watch()
    return True


def _end_here(number: int, _) -> None:
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    end(number)


def _raise(number: int, frame: types.FrameType | None) -> None:
    _noticed.set()
    if _imports(frame):
        _end_here(number, frame)
    raise KeyboardInterrupt


def _imports(frame: types.FrameType | None) -> bool:
    """Whether a module is being imported: compiled ones crash on KeyboardInterrupt, or hide it."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _note(*_) -> None:
    """The thread that sees every signal has noted it: this one may be busy for minutes."""


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
    global _came
    while came := os.read(read, 1):
        number, handler = came[0], signal.getsignal(came[0])
        if handler is _note:
            if number == signal.SIGINT and _came:
                end()
            if number == signal.SIGINT:
                os.write(2, FIRST)
            _came = _came or number
        elif handler in (_raise, _end_here):
            if not _noticed.wait(GRACE):
                end(number)
            _noticed.clear()
