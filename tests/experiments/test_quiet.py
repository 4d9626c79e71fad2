"""What libraries print of a failed checkpoint beside its exception is left out, and no more."""

import asyncio
import logging
import sys
import types

import pytest

from experiments import quiet


@pytest.fixture
def printed(monkeypatch):
    """The errors that came to the hook before."""
    found = []
    monkeypatch.setattr(sys, "excepthook", lambda *given: found.append(given[1]))
    monkeypatch.setattr(quiet.excepthook, "before", sys.excepthook)
    monkeypatch.setattr(logging.getLogger("absl"), "filters", [])
    quiet.listen()
    quiet.listen()  # a second command in one process
    return found


def raised(call, *arguments):
    with pytest.raises(RuntimeError) as caught:
        call(*arguments)
    return caught.value


def test_a_callback_after_the_end_of_its_loop(printed):
    loop = asyncio.new_event_loop()
    loop.close()
    late = raised(loop.call_soon_threadsafe, print)
    trace = late.__traceback__.tb_next.tb_next  # as where C++ called it
    sys.excepthook(RuntimeError, late, trace)
    assert printed == []
    sys.excepthook(RuntimeError, late, late.__traceback__)  # a call of ours
    other = RuntimeError("Event loop is closed, they say")
    sys.excepthook(RuntimeError, other, None)
    assert printed == [late, other]


def test_a_write_that_is_never_finished():
    async def async_serialize_from_host():
        pass

    def lost(thing, error):
        return types.SimpleNamespace(object=thing, exc_value=error, exc_traceback=None)

    coroutine = async_serialize_from_host()
    coroutine.close()
    coroutine.__qualname__ = "async_serialize_from_host.<locals>.write_fragment"
    assert quiet.is_leftover(lost(coroutine, ImportError()))
    assert not quiet.is_leftover(lost(print, ImportError()))


def test_orbax_s_log_of_what_it_raises(printed):
    def kept(text):
        return logging.getLogger("absl").filter(logging.makeLogRecord({"msg": text}))

    assert not kept("[process=0] _SignalingThread.run() raised an exception: no space")
    assert kept("another error")


def test_a_write_that_nobody_awaits_is_left_out():
    async def async_serialize_from_host():
        raise ValueError("No space left on device")

    async def other():
        raise ValueError("something else")

    def line(coroutine):
        loop = asyncio.new_event_loop()
        task = loop.create_task(coroutine())
        loop.run_until_complete(asyncio.wait([task]))
        text = f"{quiet.LOST}\nfuture: {task!r}"
        task.exception()
        loop.close()
        return logging.LogRecord("asyncio", logging.ERROR, "", 0, text, None, None)

    assert not quiet.told(line(async_serialize_from_host))
    assert quiet.told(line(other))
