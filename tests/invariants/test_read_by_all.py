"""What is read once, each process reading a part."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import multihost_utils

from dtn_jax.parallel import processes


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("values", [np.arange(13) << 40, np.arange(3.0)[:, None], np.arange(16)])
def test_every_process_has_all_rows_and_reads_its_own(values, count, monkeypatch):
    """Whole, too, where a number has 64 bits: what goes between processes passes through JAX."""
    sent, asked = [], []

    def gather(part):
        sent.append(np.asarray(jnp.asarray(part)))
        return np.stack((sent if len(sent) == count else sent[-1:] * count)[-count:])

    def read(part):
        asked.append(range(len(values))[part])
        return values[part]

    monkeypatch.setattr(jax, "process_count", lambda: count)
    monkeypatch.setattr(multihost_utils, "process_allgather", gather)
    for index in range(count):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        got = processes.read_by_all(read, len(values))
    np.testing.assert_array_equal(got, values)  # the last one's, who has seen what the others sent
    assert got.dtype == values.dtype
    assert [number for part in asked for number in part] == list(range(len(values)))
    assert max(map(len, asked)) <= -(-len(values) // count)
