"""Long tables lie on huge pages, with their contents, and stay there through donated steps."""

import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import small

from dtn_jax.tables import huge_pages
from dtn_jax.train import train


def huge_bytes(array) -> int:
    """How much of an array's memory Linux has on huge pages."""
    first, held = array.unsafe_buffer_pointer(), 0
    with open("/proc/self/smaps") as areas:
        inside = False
        for line in areas:
            if area := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
                inside = int(area[1], 16) < first + array.nbytes and int(area[2], 16) > first
            elif inside and line.startswith("AnonHugePages:"):
                held += int(line.split()[1]) * 1024
    return held


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages are asked for on Linux")
def test_a_long_table_moves_to_huge_pages_and_a_donated_step_leaves_it_there():
    rows = np.arange(2 * huge_pages.SMALLEST // 64)
    table = jax.jit(
        lambda: jnp.broadcast_to(jnp.asarray(rows, jnp.float32)[:, None], (len(rows), 16))
    )()
    if not huge_pages.use({"table": table}):
        pytest.skip("this kernel grants no huge pages")
    assert huge_bytes(table) >= table.nbytes - 2 * huge_pages.HUGE_PAGE
    np.testing.assert_array_equal(table[:, 3], rows)
    step = jax.jit(lambda t: t.at[5].add(1), donate_argnums=0)
    place = table.unsafe_buffer_pointer()
    stepped = step(table)
    assert stepped.unsafe_buffer_pointer() == place
    assert huge_bytes(stepped) >= stepped.nbytes - 2 * huge_pages.HUGE_PAGE


def test_short_arrays_are_left_alone():
    assert huge_pages.use([jnp.zeros((1000, 16)), jnp.zeros(7)]) == 0


def test_a_run_asks_for_them(monkeypatch, prepared_dir, tmp_path):
    asked = []
    monkeypatch.setattr(huge_pages, "use", lambda arrays: asked.append(arrays))
    train(small(prepared_dir, train__max_steps=1), tmp_path / "run")
    tables, slots = asked[0]
    assert set(tables) == set(slots) == {"embedding"}
