"""Huge pages for long tables on a CPU.

A step touches rows all over a table. With pages of 4 kB each look-up in a long one misses the
processor's address cache (TLB) too; with huge pages, of 2 MB, it does not.
"""

from __future__ import annotations

import ctypes
import sys

import jax

HUGE_PAGE = 2 << 20
SMALLEST = 32 << 20  # bytes; a smaller array fits the caches, addresses included
MADV_HUGEPAGE, MADV_COLLAPSE = 14, 25  # linux/mman.h; the second since Linux 6.1


def use(arrays) -> int:
    """Asks Linux to put the CPU arrays of a pytree on huge pages; returns the bytes it granted.

    The arrays keep their place and contents, and so do the ones that a step with donated buffers
    writes over them. Where there is no such thing as huge pages, nothing happens.
    """
    if sys.platform != "linux":
        return 0
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    granted = 0
    for array in jax.tree.leaves(arrays):
        for shard in array.addressable_shards:
            data = shard.data
            if shard.device.platform != "cpu" or data.nbytes < SMALLEST:
                continue
            start = data.unsafe_buffer_pointer()
            first = -(-start // HUGE_PAGE) * HUGE_PAGE  # whole pages alone can be huge
            size = (start + data.nbytes) // HUGE_PAGE * HUGE_PAGE - first
            madvise(first, size, MADV_HUGEPAGE)
            granted += 0 if madvise(first, size, MADV_COLLAPSE) else size
    return granted
