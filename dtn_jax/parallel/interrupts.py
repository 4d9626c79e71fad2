"""Ctrl-C, from a command's first moment to its last: exit code 130 and a message, within a second.

Python's own handler raises KeyboardInterrupt wherever the main thread happens to be. During imports
that may be in a callback whose exceptions are dropped, and the interruption with them. And it runs
between two instructions of Python, so a compiler that works for minutes holds it up. So here a
command ends at once while it begins, imports or is done; else KeyboardInterrupt is raised. Where
the main thread does not come to that, a second thread ends the process; where code in between drops
it, it is raised again. A run that trains has it `noted`, and is saved first.

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

CODE = 130  # as shells have it: 128 and the signal's number
GRACE = 0.7  # seconds that the main thread has to notice
LATE = 2.5  # seconds after which it is asked whether the interruption was dropped
CURSOR = b"\x1b[?25h"  # shows the cursor, which a progress bar hides
FIRST = b"\nsaving the steps in flight first; Ctrl-C again ends at once\n"

_message = "interrupted"
_noticed = threading.Event()
_left = threading.Event()  # `raised` is left
_asked = False  # the next signal is the question
_watched = False
_came = 0  # the first signal that was noted


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
    _left.clear()
    try:
        yield
    finally:
        _left.set()
        _message = _message_before
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


def end(message: str) -> None:
    """Ends the process with the message; what it had begun stays as it is on disk."""
    with contextlib.suppress(Exception):
        if os.isatty(1):
            os.write(1, CURSOR)
        os.write(2, message.encode() + b"\n")
    os._exit(CODE)


def _handle(handler, number: int = signal.SIGINT) -> bool:
    """Sets the handler, unless the signal is ignored, as Ctrl-C under nohup, or this is another
    thread."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(number) in (signal.SIG_IGN, None):
        return False
    signal.signal(number, handler)
    _watch()
    return True


def _end_here(*_) -> None:
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    end(_message)


def _raise(_, frame: types.FrameType | None) -> None:
    global _asked
    _noticed.set()
    if _imports(frame):
        _end_here()
    question, _asked = _asked, False
    if not (question and _on_its_way()):
        raise KeyboardInterrupt


def _note(*_) -> None:
    """The thread that sees every signal has noted it: this one may be busy for minutes."""


def _imports(frame: types.FrameType | None) -> bool:
    """Whether a module is being imported: compiled ones crash on KeyboardInterrupt, or hide it."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _on_its_way() -> bool:
    """Whether the main thread is handling an interruption, as in a `finally`."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


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
    global _asked, _came
    while came := os.read(read, 1):
        handler = signal.getsignal(came[0])
        if handler is _note:
            if came[0] == signal.SIGINT:
                if _came:
                    end(_message)
                os.write(2, FIRST)
            _came = _came or came[0]
            continue
        if came[0] != signal.SIGINT or handler not in (_raise, _end_here):
            continue
        question = _asked
        if not _noticed.wait(GRACE) and not question:
            end(_message)
        _noticed.clear()
        if handler is _raise and not question and not _left.wait(LATE):
            _asked = True
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
