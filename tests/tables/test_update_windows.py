"""An update works through its places in windows, where a compiler wants that."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtn_jax.tables import row_optimizers as ro
from dtn_jax.tables import update_by_sort
from dtn_jax.tables.stored_rows import StoredRows, lay_out


def test_a_tpu_writes_few_lines_at_once_unless_the_table_is_short():
    """So that its compiler does not pass over the whole table: see `window_of`."""
    lie = lay_out(250_000, 64, "tpu", 1024)
    assert update_by_sort.window_of(lie, 94_208) * 40 < lie.lines
    assert update_by_sort.window_of(lie, 94_208, 2) * 80 < lie.lines  # bfloat16
    assert update_by_sort.window_of(lie, lie.rows // 2) == lie.rows // 2
    alone = lay_out(250_000, 64, "gpu", 1024)
    assert update_by_sort.window_of(alone, 94_208) == 94_208


@pytest.mark.parametrize("lie", [StoredRows(64, 4), StoredRows(64, 4, 8, 32)])
@pytest.mark.parametrize("window", [150, 43, 4])
def test_windows_change_no_sum(lie, window, monkeypatch):
    """Of whole numbers, which no order rounds; with runs longer than a window."""
    rng = np.random.default_rng(window)
    ids = rng.choice([*range(64), *[3] * 40, *[64] * 60], 300)  # 64: another device's
    gradient = jnp.asarray(rng.integers(-9, 9, (300, 4)), jnp.float32)
    adagrad = ro.adagrad(1e-8)
    found = {}
    for n in (300, window):
        monkeypatch.setattr(update_by_sort, "window_of", lambda *_, n=n: n)
        table = jnp.zeros(lie.shape)
        scalars = ro.Scalars(jnp.float32(0.1), jnp.float32(0), jnp.int32(0))
        given = table, adagrad.init(table, lie), jnp.asarray(ids, jnp.int32), gradient, scalars
        found[n] = update_by_sort.update(adagrad, lie, *given)
    for a, b in zip(*map(jax.tree.leaves, found.values()), strict=True):
        np.testing.assert_array_equal(a, b)
