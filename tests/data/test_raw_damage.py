"""Whatever a raw file holds, it is read, or refused with its name: nothing else."""

import pytest
import raw_logs
from damaged_bytes import DAMAGE, damaged
from hypothesis import given, settings
from hypothesis import strategies as st

from dtn_jax.errors import UserError


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["parquet", "arrow", "csv", "jsonl"])
def test_damaged_bytes(tmp_path, suffix):
    path = raw_logs.write(tmp_path / f"a.{suffix}")
    data, refused = path.read_bytes(), []

    @settings(max_examples=400, deadline=None)
    @given(st.lists(DAMAGE, min_size=1, max_size=3))
    def harm(every):
        changed = data
        for damage in every:
            changed = damaged(changed, damage)
        path.write_bytes(changed)
        try:
            raw_logs.chunks(path)
        except UserError as error:
            refused.append(str(error))

    harm()
    assert refused  # most damage to text is a broken line, which is no error
    assert all(message.startswith(str(path)) for message in refused)


def test_a_list_whose_values_have_a_name_that_is_no_text(tmp_path):
    """Polars panics at such a name."""
    path = raw_logs.write(tmp_path / "a.arrow")
    data = path.read_bytes()
    assert b"item" in data
    path.write_bytes(data.replace(b"item", b"it\xc4\x00"))
    with pytest.raises(UserError, match=r"a\.arrow is cut, or is no Arrow file: 'utf-8' codec"):
        raw_logs.chunks(path)
