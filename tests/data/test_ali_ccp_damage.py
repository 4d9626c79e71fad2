"""Lines and files of Ali-CCP with damage: what is counted and skipped, and when it is too much."""

import numpy as np
import pytest
from ali_ccp_pair import OPTIONS, SPEC, copied, lines_of, load, raw_line

from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.errors import UserError
from experiments import generate_ali_ccp

ALONE = raw_line(["7", "1", "0", "nowhere"], [("205", 5, 1.0), ("206", 6, 1.0)]).encode()
WHOLE = ALONE.replace(b"nowhere", b"%s")  # with common features
BROKEN = {  # lines of each file that are not as published
    "sample_skeleton_test": [
        *(b"1,0,0,abc", b"", WHOLE[1:], WHOLE.replace(b"7,1", b"7a,1")),
        *(WHOLE.replace(b"7,1", b"\xff7,1"), WHOLE.replace(b"7,1,", b"7,2,")),
        *(WHOLE.replace(b"7,1,0", b"7,1,no"), WHOLE.replace(b",2,", b",two,")),
        *(
            WHOLE.replace(b",2,", b",3,"),
            WHOLE + b"\x01",
            WHOLE.replace(b"\x026\x031.0", b"\x026\x03nan"),
        ),
        *(
            WHOLE.replace(b"206\x026\x031.0", b"206\x026"),
            WHOLE.replace(b"\x026\x03", b"\x02x\x03"),
        ),
    ],
    "common_features_test": [
        *(b"abc,1", b"", b"\xc3", b",0,", b"abc,,", b"abc,2,101\x021\x031", b"abc,1,101\x021"),
        *(b"abc,1,101\x02-1\x031", b"abc,1,101\x021\x031e999"),
    ],
}


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("manual")
    generate_ali_ccp.write(SPEC, folder / "ali_ccp")
    return folder


def test_broken_lines_are_counted_and_skipped(manual, tmp_path, capsys):
    """Among good lines, which are read as ever; of two lines of one index the first counts."""
    files = {f"{name}.csv": lines_of(manual, f"{name}.csv") for name in BROKEN}
    index = files["common_features_test.csv"][3].partition(b",")[0]
    rows, common = map(len, files.values())
    changed = {name: files[f"{name}.csv"] + lines for name, lines in BROKEN.items()}
    changed["common_features_test"].append(index + b",0,")
    changed["sample_skeleton_test"] += [ALONE, WHOLE.replace(b"%s", index)]
    data = load(copied(manual, tmp_path, **changed), tmp_path)
    told = capsys.readouterr().out
    for name, first, lines in zip(BROKEN, (rows, common), changed.values()):
        count = f"{len(BROKEN[name])} of {len(lines)} lines"
        line = f"{name}.csv: {count} are not as published: skipped; the first is line {first + 1}"
        assert line in told
        assert line in data.notes["account"]
    alone = f"1 of {len(changed['sample_skeleton_test'])} lines have no line of common features"
    assert alone in told
    usual = SplitReader(load(manual, tmp_path / "whole"), "test").everything()
    got = SplitReader(data, "test").everything()
    assert len(got.ids) == rows + 2
    np.testing.assert_array_equal(got.ids[:rows], usual.ids)
    np.testing.assert_array_equal(got.weights[:rows], usual.weights)
    assert (data.groups("test")[rows:] < 0).tolist() == [True, False]


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("sample_skeleton_train", [b"x"] * 9, r"9 of 9 lines are not as published"),
        ("common_features_test", [b"x"] * 9, r"9 of 9 lines .*; the first is line 1"),
        ("sample_skeleton_test", [WHOLE, WHOLE, b"x"], r"1 of 3 lines .* At most 20% may be"),
        ("sample_skeleton_test", [WHOLE, WHOLE, ALONE], r"1 of 3 lines have no line of common"),
        ("sample_skeleton_test", [], r"holds no rows"),
        ("common_features_test", [b"x,0,"], r"of 400 lines have no line of common feat"),
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


def test_a_file_that_is_not_there_and_options_that_are_none(manual, tmp_path):
    folder = copied(manual, tmp_path)
    (folder / "ali_ccp" / "common_features_test.csv").unlink()
    with pytest.raises(UserError, match=r"/ali_ccp lacks common_features_test\.csv\. Get the set"):
        load(folder, tmp_path)
    with pytest.raises(UserError, match="=0: expected a whole number at least 1"):
        load(manual, tmp_path, "min_count=0")
    with pytest.raises(UserError, match=r"data.options pooling 'summ'. Did you mean 'sum"):
        load(manual, tmp_path, f"{OPTIONS},pooling=summ")
