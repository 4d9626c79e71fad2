"""The population stability index, and what it says of data that did not move, and that did."""

import numpy as np
import pytest
from own_log import one_field
from scipy.stats import chi2

from dtn_jax.datasets.description import drift


def numpy_psi(a, b):
    p, q = (a + 0.5) / (a + 0.5).sum(), (b + 0.5) / (b + 0.5).sum()
    return sum((q[i] - p[i]) * np.log(q[i] / p[i]) for i in range(len(a)))


def test_psi_is_its_formula():
    draw = np.random.default_rng(0)
    for bins in (2, 7, 30):
        a, b = draw.integers(0, 50, (2, bins)).astype(float)
        assert drift.psi(a, b) == pytest.approx(numpy_psi(a, b), rel=1e-12)
        assert drift.psi(a, b) == pytest.approx(drift.psi(b, a))
    # 50:50 to 90:10 of very many rows: 2 * 0.4 * ... = 0.4 ln(0.9/0.5) + 0.4 ln(0.5/0.1)
    expected = 0.4 * np.log(1.8) + 0.4 * np.log(5)
    assert drift.psi(np.array([5e9, 5e9]), np.array([9e9, 1e9])) == pytest.approx(expected)


def between(train, other, **changes):
    a, schema = one_field(train, np.zeros(len(train)), **changes)
    b, _ = one_field(other, np.zeros(len(other)), "test", **changes)
    return drift.of_field(schema.fields[0], schema, a, b, by_weight=False)


def test_few_ids_have_a_bin_each():
    draw = np.random.default_rng(1)
    train, other = draw.integers(0, 6, 900), draw.integers(2, 9, 300)
    counts = [np.bincount(v, minlength=9).astype(float) for v in (train, other)]
    found = between(train, other)
    assert found.psi == pytest.approx(numpy_psi(*counts), rel=1e-12)
    assert found.chance == pytest.approx(chi2.ppf(0.95, 8) * (1 / 900 + 1 / 300))
    assert found.reading == "strong"
    assert found.split == "test"


def test_bins_of_many_ids():
    """The most frequent alone, equally frequent ones together, the unknown id with the rarest."""
    ids = np.arange(101)
    counts = np.concatenate([[7.0], [1000.0] * 20, [30.0] * 40, [3.0] * 40])
    bins = drift.bins_of(ids, counts)
    assert len(set(bins[1:21])) == 20
    assert len(set(bins[21:61])) == 1
    assert bins[21] not in bins[1:21]
    assert set(bins[61:]) == {bins[0]}
    assert bins[0] not in bins[:0:-1][40:]
    assert sorted(set(bins)) == list(range(bins.max() + 1))


@pytest.mark.parametrize("seed", range(3))
def test_rare_ids_that_did_not_move_are_stable(seed):
    """Two rows a user, and those that train lacks are unknown in test: no drift."""
    draw = np.random.default_rng(seed)
    users = draw.integers(0, 20_000, 50_000)
    train, other = users[:40_000], users[40_000:]
    known = np.isin(other, train)
    encoded = [1 + train, np.where(known, 1 + other, 0)]
    found = between(*encoded, rows=20_001)
    assert found.psi < 0.1, found


def test_what_test_alone_has_is_no_chance():
    """A row a user in train, and none of test's is among them."""
    train = 1 + np.arange(2000)
    assert between(train, np.zeros(500, np.int64), rows=2001).reading == "strong"
    draw = np.random.default_rng(0)
    some = np.where(draw.random(500) < 0.9, 0, draw.integers(1, 2001, 500))
    assert between(train, some, rows=2001).reading == "strong"
    nothing = np.where(draw.random(4000) < 0.7, 0, draw.integers(1, 2001, 4000))
    found = between(nothing[:3000], nothing[3000:], rows=2001)  # as unknown in both: it stayed
    assert found.reading in ("chance", "stable")


def test_ids_that_moved_have_drift():
    draw = np.random.default_rng(0)
    train, other = np.minimum(draw.zipf(1.5, (2, 20_000)), 900)
    assert between(train, other).psi < 0.05
    half = draw.random(20_000) < 0.5
    assert between(train, np.where(half, 0, other)).reading == "strong"  # half became unknown
    assert between(train, np.where(half, 900 - other, other)).reading == "strong"


def test_rows_count_by_their_weights():
    """Train's negatives were sampled at 0.1 and weigh 10: then nothing moved."""
    draw = np.random.default_rng(0)
    ids = draw.integers(1, 3, 40_000)
    label = draw.random(40_000) < np.where(ids == 1, 0.02, 0.3)
    kept = label | (draw.random(40_000) < 0.1)
    weights = np.where(label, 1.0, 10.0).astype(np.float32)
    a, schema = one_field(ids[kept], label[kept], weights=weights[kept])
    b, _ = one_field(ids, label, "test", weights=np.ones(40_000, np.float32))
    by_weight, by_row = (
        drift.of_field(schema.fields[0], schema, a, b, by_weight=way) for way in (True, False)
    )
    assert by_weight.reading in ("chance", "stable")
    assert by_weight.psi < 0.01 < by_row.psi


def test_readings():
    assert [
        drift.Drift("f", "test", psi, chance).reading
        for psi, chance in ((0.01, 0.02), (0.05, 0.02), (0.2, 0.02), (0.3, 0.02), (0.3, 0.4))
    ] == ["chance", "stable", "some", "strong", "chance"]
