"""The share of train that is held out for validation."""

import polars as pl

from dtn_jax.datasets.preparation.hold_out import hold_out


def test_hold_out_is_an_exact_and_fixed_share():
    frame = pl.DataFrame({"row": range(1_234)})
    rest, held = hold_out(frame, 0.1, seed=7)
    assert (len(rest), len(held)) == (1_111, 123)
    assert sorted([*rest["row"], *held["row"]]) == list(range(1_234))
    assert rest["row"].is_sorted()
    assert held["row"].is_sorted()
    again = hold_out(frame, 0.1, seed=7)
    assert again[1].equals(held)
    assert not hold_out(frame, 0.1, seed=8)[1].equals(held)
    # Fixed for good: a validation split that moves makes old results incomparable.
    assert held["row"].head(5).to_list() == HELD_OUT
    assert abs(held["row"].mean() - 617) < 100  # not all from one end


HELD_OUT = [5, 9, 24, 31, 35]
