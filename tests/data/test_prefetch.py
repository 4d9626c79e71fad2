"""Work ahead in a thread: the same items, the same errors, and a thread that ends."""

import threading
import time

import pytest

from dtn_jax.input.prefetch import prefetched


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("prefetch")]


@pytest.fixture(autouse=True)
def _every_thread_ends():
    yield
    for thread in threads():
        thread.join(120)
    assert not threads()


def test_the_same_items_in_order():
    assert list(prefetched(iter(range(100)))) == list(range(100))
    assert list(prefetched(iter([]))) == []
    assert list(prefetched(iter([None, None]))) == [None, None]


def test_one_item_ahead_and_no_more():
    made, second = [], threading.Event()

    def items():
        for i in range(5):
            made.append(i)
            if i == 1:
                second.set()
            yield i

    ahead = prefetched(items())
    assert next(ahead) == 0
    assert second.wait(120)  # made without being asked for
    time.sleep(0.05)
    assert made == [0, 1]
    ahead.close()


def test_an_error_comes_where_its_item_would_have():
    def items():
        yield 1
        raise ValueError("the disk is gone")

    ahead = prefetched(items())
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="the disk is gone"):
        next(ahead)


def test_closing_ends_the_thread():
    ahead = prefetched(iter(range(100)))
    next(ahead)
    assert threads()
    ahead.close()


def test_forgetting_ends_the_thread():
    ahead = prefetched(iter(range(100)))
    next(ahead)
    del ahead
