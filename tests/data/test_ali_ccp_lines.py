"""Damaged lines of Ali-CCP: each counts for its first fault, and the good ones are kept."""

import re

import pyarrow as pa
import pytest
from ali_ccp_lines import GOOD, SKELETON_DAMAGE, TEXT
from ali_ccp_pair import load, write_released

from dtn_jax.datasets.ali_ccp import text as ali_ccp_text
from dtn_jax.datasets.ali_ccp.text import FIELDS
from dtn_jax.datasets.preparation import text_lines


def test_a_line_counts_for_its_first_fault_and_the_good_ones_beside_it_are_kept():
    """All of a chunk at once, damaged lines between good ones."""
    several = GOOD.replace(b"\x026\x031.0", b"\x026x\x03nan")
    lines = [GOOD, several, *SKELETON_DAMAGE.values(), GOOD.replace(b"205\x025", b"216\x029")]
    lines = [line for line in lines if b"\xff" not in line]
    lines.insert(1, GOOD.replace(b"\x026\x031.0", b"\x020x6\x031.0"))
    damage = text_lines.Damage("x")
    batch = pa.RecordBatch.from_arrays(
        [pa.array(range(1, len(lines) + 1)), pa.array([line.decode() for line in lines])],
        [text_lines.NUMBER, text_lines.TEXT],
    )
    rows, features = ali_ccp_text.skeleton_rows(batch, damage)
    assert rows[text_lines.NUMBER].to_pylist() == [1, len(lines)]
    assert damage.found[TEXT.ID].lines == 3
    assert damage.found[TEXT.VALUE].lines == 1
    found = {n: v.ids.tolist() for n, v in zip(FIELDS, features) if len(v.ids)}
    assert found == {"205": [5], "206": [6, 6], "216": [9]}
    assert features[FIELDS.index("205")].lengths.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("0x1F", None), ("31", 31), ("+31", None), ("1e1", None)),
        *(("7".zfill(18), 7), ("7".zfill(19), None)),
    ],
)
def test_a_number_is_one_whatever_stands_beside_it(text, number):
    for others in (["1"], ["1", "y"]):
        numbers, good = ali_ccp_text._numbers(pa.array([text, *others]), pa.int32(), TEXT.WHOLE)
        assert (numbers[0] if good[0] else None) == number


def test_damage_of_the_released_readers_files(tmp_path):
    def nobody(lines):  # every fifth, whose group must not depend on the lines before it
        return [
            re.sub(",101:[0-9]+", ",101:0", t) if i % 5 == 0 else t for i, t in enumerate(lines)
        ]

    def change(lines):
        lines = nobody(lines)
        bad = [
            lines[0].rpartition(",")[0],
            lines[0].replace("121:", "122:", 1),
            lines[0].replace("301:", "301:x", 1),
            "," + lines[0].partition(",")[2],
        ]
        return [*lines[:3], *bad, *lines[3:]]

    write_released(tmp_path / "good" / "ali_ccp", nobody)
    write_released(tmp_path / "bad" / "ali_ccp", change)
    good, bad = (load(tmp_path / n, tmp_path / n) for n in ("good", "bad"))
    assert bad.fingerprint == good.fingerprint
    wanted = (TEXT.COLUMNS[TEXT.RELEASED], TEXT.PLACE, TEXT.ID, TEXT.EMPTY["sample_id"])
    found = bad.notes["lines"]["test"]["damage"]
    assert {reason: f["lines"] for reason, f in found.items()} == {r.text: 1 for r in wanted}
    assert [found[r.text]["first"] for r in wanted] == [4, 5, 6, 7]
    halves = [bad.notes["lines"][s]["left_out"] for s in ("train", "validation")]
    assert sum(halves) == 4  # each line once, whatever the split
