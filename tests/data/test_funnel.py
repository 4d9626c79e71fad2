"""The synthetic funnel: its rows, its rates and its ids."""

import dataclasses
import itertools

import funnel_rows
import numpy as np
import pytest
from funnel_rows import SPACES, logits

from dtn_jax.datasets.synthetic import funnel, known_answer
from dtn_jax.errors import UserError

spec = funnel_rows.spec
data = funnel_rows.data

BLOCK = funnel.BLOCK_ROWS


@pytest.mark.parametrize(
    "cuts",
    [
        [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK],
        [5_000, 5_000, 29_999],
        sorted(np.random.default_rng(0).integers(0, 30_000, 7).tolist()),
    ],
    ids=["block edges", "empty part", "random"],
)
def test_rows_do_not_depend_on_how_the_range_is_cut(spec, data, cuts):
    parts = [funnel.rows(spec, a, b - a) for a, b in itertools.pairwise([0, *cuts, 30_000])]
    for whole, cut in zip(data, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(cut), whole[:30_000])


def test_rows_do_not_depend_on_the_number_of_rows(spec, data):
    longer = dataclasses.replace(spec, rows=funnel.MAX_ROWS)
    for got, expected in zip(funnel.rows(longer, 100, 9_000), data, strict=True):
        np.testing.assert_array_equal(got, expected[100:9_100])
    ids, labels = funnel.rows(longer, funnel.MAX_ROWS - 3, 3)
    assert ids.shape == (3, 23)
    assert labels.shape == (3, 3)


def test_shapes_and_dtypes(data):
    ids, labels = data
    assert (ids.shape, ids.dtype) == ((200_000, 23), np.int32)
    assert (labels.shape, labels.dtype) == ((200_000, 3), np.uint8)
    assert funnel.TASKS == ("click", "cart", "order")


def test_blocks_and_seeds_differ(spec, data):
    ids, _ = data
    assert (ids[:BLOCK] != ids[BLOCK : 2 * BLOCK]).any(0).all()
    other = dataclasses.replace(spec, seed=4)
    assert (funnel.rows(other, 0, 1_000)[0] != ids[:1_000]).any(0).all()
    # Not only other rows: the same ids mean something else.
    assert np.abs(logits(other, ids[:1_000]) - logits(spec, ids[:1_000])).mean() > 0.5


def test_the_same_seed_gives_the_same_rows_after_the_cache_is_cleared(spec, data):
    funnel._terms.cache_clear()
    again = funnel.rows(dataclasses.replace(spec), 0, 2 * BLOCK)
    for got, expected in zip(again, data, strict=True):
        np.testing.assert_array_equal(got, expected[: 2 * BLOCK])


def test_labels_are_nested(data):
    click, cart, order = data[1].T
    assert set(np.unique(data[1])) == {0, 1}
    assert (cart <= click).all()
    assert (order <= cart).all()
    assert 0 < order.sum() < cart.sum() < click.sum() < len(click)


def test_rates_match_the_probabilities(spec, data):
    ids, labels = data
    scores = known_answer.bayes_scores(spec, ids)
    space = {"all": np.ones(len(ids), bool), "click": labels[:, 0] == 1, "cart": labels[:, 1] == 1}
    for name in SPACES:
        task, where = name.split("@")
        p, y = scores[name][space[where]], labels[space[where], funnel.TASKS.index(task)]
        # By tenths of the score: labels of other rows would match overall, but not there.
        for part in np.array_split(np.argsort(p), 10):
            z = (y[part].sum() - p[part].sum()) / np.sqrt((p[part] * (1 - p[part])).sum())
            assert abs(z) < 4.5, (name, z)


@pytest.mark.parametrize("seed", range(4))
def test_rates_leave_enough_positives(seed):
    spec = funnel.FunnelSpec(rows=100_000, seed=seed)
    click, cart, order = funnel.rows(spec, 0, 40_000)[1].mean(0)
    assert 0.2 < click < 0.3
    assert 0.25 < cart / click < 0.35
    assert 0.25 < order / cart < 0.35


def test_ids_follow_the_bounded_zipf_law(spec, data):
    ids, _ = data
    assert ids.min() == 1
    for field, column in zip(funnel.FIELDS, ids.T, strict=True):
        size = spec.sizes[field]
        prob = funnel.id_probabilities(size, size)
        assert prob.sum() == pytest.approx(1, abs=1e-12)
        assert column.max() <= size
        expected = prob * len(column)
        got = np.bincount(column, minlength=size + 1)[1:]
        # Chi-square over the ids seen often, normalised to z.
        often = expected > 20
        chi = ((got - expected)[often] ** 2 / expected[often]).sum()
        assert abs(chi - often.sum()) < 5 * np.sqrt(2 * often.sum()), field
    assert prob[0] > 0.3  # the last field has three ids
    head = (ids[:, funnel.FIELDS.index("f205")] <= 46).mean()  # the first 1 % of its ids
    assert 0.6 < head < 0.85


def test_rare_ids_decay_with_the_exponent():
    prob = funnel.id_probabilities(100_000, 100_000)
    assert np.log2(prob[9_999] / prob[19_999]) == pytest.approx(funnel.ZIPF, rel=1e-3)


@pytest.mark.parametrize("ids", [20_000, 20_001, 100_000, 1_000_000, funnel.MAX_IDS])
def test_sizes_use_up_the_ids(ids):
    sizes = funnel.FunnelSpec(ids=ids).sizes
    assert list(sizes) == list(funnel.FIELDS)
    assert 0.999 * ids < sum(sizes.values()) <= ids
    assert min(sizes.values()) >= 2
    assert all(sizes[f] <= n for f, n in funnel.ALI_CCP_IDS.items())


def test_fields_are_those_of_ali_ccp():
    order = "101 109_14 110_14 127_14 150_14 121 122 124 125 126 127 128 129 205 206 207 210 216"
    order += " 508 509 702 853 301"
    assert tuple(f"f{name}" for name in order.split()) == funnel.FIELDS
    assert funnel.FunnelSpec(ids=funnel.MAX_IDS).sizes == funnel.ALI_CCP_IDS


def test_ids_of_the_real_size_are_drawn():
    spec = funnel.FunnelSpec(ids=funnel.MAX_IDS)
    ids, _ = funnel.rows(spec, 0, 20_000)
    large = ids[:, funnel.FIELDS.index("f205")]
    assert 1_000_000 < large.max() <= 3_044_000
    assert funnel.probabilities(spec, ids).shape == (20_000, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 999}, "rows is 999, expected an integer from 1,000 to 100,000,000"),
        ({"rows": 10**8 + 1}, "rows is 100000001"),
        ({"ids": 19_999}, "ids is 19999, expected an integer from 20,000 to"),
        ({"ids": funnel.MAX_IDS + 1}, f"ids is {funnel.MAX_IDS + 1}"),
        ({"seed": -1}, "seed is -1"),
        ({"rows": 1e6}, "rows is 1000000.0, expected an integer"),
        ({"seed": True}, "seed is True, expected an integer"),
    ],
)
def test_a_spec_out_of_range_is_the_users_error(change, message):
    with pytest.raises(UserError, match=message):
        funnel.FunnelSpec(**change)


def test_other_bad_input_is_the_users_error(spec, data):
    for start, count in [(-1, 2), (0, -1), (199_999, 2)]:
        with pytest.raises(UserError, match=r"not within \[0, 200000\)"):
            funnel.rows(spec, start, count)
    with pytest.raises(UserError, match=r"shape \(5, 22\), expected \[B, 23\]"):
        funnel.probabilities(spec, data[0][:5, :22])
    too_large = data[0][:5].copy()
    too_large[2, -1] = 4
    with pytest.raises(UserError, match="outside"):
        funnel.probabilities(spec, too_large)
