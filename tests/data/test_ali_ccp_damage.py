"""Lines and files of Ali-CCP with damage: what is counted and shown, and when it is too much."""

import gzip

import numpy as np
import pytest
from ali_ccp_pair import OPTIONS, SPEC, copied, lines_of, load, raw_line

from dtn_jax.cli import description
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.sets.ali_ccp import IN_PART
from dtn_jax.errors import UserError
from experiments import generate_ali_ccp

GOOD = raw_line(["7", "1", "0", "nowhere"], [("205", 5, 1.0), ("206", 6, 1.0)]).encode()
WHOLE = GOOD.replace(b"nowhere", b"%s")  # with common features
FEATURE = "a feature that is not a field, an id of at most 18 digits and a number"
SKELETON_DAMAGE = {  # reason: lines with it
    "not 6 columns": [b"1,0,0,abc", b""],
    "no sample_id": [GOOD[1:]],
    "sample_id is not a whole number of at most 18 digits": [
        GOOD.replace(b"7,1", b"7a,1"),
        GOOD.replace(b"7,1", b"\xff7,1"),
    ],
    "click is not 0 or 1": [GOOD.replace(b"7,1,", b"7,2,")],
    "conversion is not 0 or 1": [GOOD.replace(b"7,1,0", b"7,1,no")],
    "the number of features is not a whole number": [GOOD.replace(b",2,", b",two,")],
    "the number of features is wrong": [GOOD.replace(b",2,", b",3,"), GOOD + b"\x01"],
    FEATURE: [
        GOOD.replace(b"206\x026\x031.0", b"206\x026"),
        GOOD.replace(b"\x026\x03", b"\x026x\x03"),
        GOOD.replace(b"\x026\x031.0", b"\x026\x03nan"),
        GOOD.replace(b"\x026\x031.0", b"\x020x6\x031.0"),
        GOOD.replace(b"205\x025", b"999\x02x"),
    ],
    "its common_index has no line of common features": [GOOD],
    "no common_index": [GOOD.replace(b"nowhere", b"")],
    "a field that is not one of the 23": [
        GOOD.replace(b"205\x025", b"999\x025").replace(b"nowhere", b"%s")
    ],
}
COMMON_DAMAGE = {
    "not 3 columns": [b"abc,1", b"", b"\xc3"],
    "an empty common_index": [b",0,"],
    "the number of features is not a whole number": [b"abc,,"],
    "the number of features is wrong": [b"abc,2,101\x021\x031"],
    FEATURE: [b"abc,1,101\x021", b"abc,1,101\x02-1\x031", b"abc,1,101\x021\x031e999"],
    "the common_index of an earlier line": [b"%s,0,", b"%s,0,"],
}


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("manual")
    generate_ali_ccp.write(SPEC, folder / "ali_ccp")
    return folder


def test_every_kind_of_damage_is_counted_and_shown(manual, tmp_path, capsys):
    """Among good lines, which are read as ever."""
    names = ("sample_skeleton_test.csv", "common_features_test.csv")
    files = {name: lines_of(manual, name) for name in names}
    index = files[names[1]][3].partition(b",")[0]
    wanted = dict(zip(names, (SKELETON_DAMAGE, COMMON_DAMAGE)))
    rows, first = len(files[names[0]]), {}
    for name, lines in files.items():
        for reason, damaged in wanted[name].items():
            first[name, reason] = len(lines) + 1
            lines += [line.replace(b"%s", index) for line in damaged]
    changed = {name.removesuffix(".csv"): lines for name, lines in files.items()}
    folder = copied(manual, tmp_path, **changed)
    data = load(folder, tmp_path, f"{OPTIONS},damaged=60")
    shown, kinds = capsys.readouterr().out, 0
    for name, lines in files.items():
        for reason, damaged in wanted[name].items():
            what = "used in part" if reason in IN_PART else "skipped"
            line = f"{name}: {len(damaged)} of {len(lines)} lines {what}: {reason}; the first is "
            assert f"{line}line {first[name, reason]}: " in shown
        kinds += len(wanted[name])
    assert sum("; the first is line" in line for line in data.notes["account"]) == kinds
    description.show(data, account=True)  # again whenever it is looked at
    again = capsys.readouterr().out
    assert len(data.notes["account"]) >= 17
    assert all(line in again and line in shown for line in data.notes["account"])
    # What is good is read as ever; and those lines that are used in part.
    usual = SplitReader(load(manual, tmp_path / "whole"), "test").everything()
    got = SplitReader(data, "test").everything()
    assert len(got.ids) == rows + 3
    np.testing.assert_array_equal(got.ids[:rows], usual.ids)
    np.testing.assert_array_equal(got.weights[:rows], usual.weights)
    assert (got.ids[rows : rows + 2, 0] == 0).all()  # no user, without common features
    assert (data.groups("test")[rows : rows + 2] < 0).all()
    assert data.groups("test")[rows + 2] > 0


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("sample_skeleton_train", [b"x"] * 9, r"9 of 9 lines are damaged"),
        ("common_features_test", [b"x"] * 9, r"9 of 9 lines .* not 3 columns; the first is line 1"),
        ("sample_skeleton_test", [WHOLE, WHOLE, b"x"], r"1 of 3 lines .* at most 20 % may be"),
        ("sample_skeleton_test", [WHOLE, WHOLE, GOOD], r"1 of 3 lines .*no line of common"),
        ("sample_skeleton_test", [], r"holds no lines"),
        ("common_features_test", [b"x,0,"], r"of 400 lines are damaged.* no line of common feat"),
        ("sample_skeleton_train", [WHOLE] * 9, r"the validation split is empty"),
    ],
)
def test_a_file_with_too_much_damage_is_refused(manual, tmp_path, name, lines, message):
    part = name.rpartition("_")[2]
    index = lines_of(manual, f"common_features_{part}.csv")[0].partition(b",")[0]
    lines = [line.replace(b"%s", index) for line in lines]
    folder = copied(manual, tmp_path, **{name: lines})
    with pytest.raises(UserError, match=message):
        load(folder, tmp_path)


def test_files_that_are_not_there_or_cannot_be_read(manual, tmp_path):
    folder = copied(manual, tmp_path)
    path = folder / "ali_ccp" / "common_features_test.csv"
    packed = gzip.compress(path.read_bytes())
    path.unlink()
    with pytest.raises(UserError, match=r"/ali_ccp lacks common_features_test\.csv\. Get the set"):
        load(folder, tmp_path)
    flipped = bytearray(packed)
    flipped[-6] ^= 1  # of the checksum of what is packed
    for damaged in (packed[:2000], bytes(flipped)):
        (path.parent / f"{path.name}.gz").write_bytes(damaged)
        with pytest.raises(UserError, match=r"common_features_test\.csv\.gz cannot be read"):
            load(folder, tmp_path)
    with pytest.raises(UserError, match="=0: expected a whole number at least 1"):
        load(manual, tmp_path, "min_count=0")
    with pytest.raises(UserError, match=r"data.options pooling 'summ'. Did you mean 'sum"):
        load(manual, tmp_path, "pooling=summ")
