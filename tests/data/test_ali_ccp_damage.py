"""Lines and files of Ali-CCP with damage: what is counted and shown, and when it is too much."""

import gzip

import numpy as np
import pyarrow as pa
import pytest
from ali_ccp_pair import OPTIONS, SPEC, copied, lines_of, load, raw_line

from dtn_jax.datasets.ali_ccp import files as ali_ccp_files
from dtn_jax.datasets.ali_ccp import text as ali_ccp_text
from dtn_jax.datasets.ali_ccp.text import FIELDS
from dtn_jax.datasets.preparation import catalog, text_lines
from dtn_jax.errors import UserError
from dtn_jax.input.reader import SplitReader
from experiments import description

GOOD = raw_line(["7", "1", "0", "nowhere"], [("205", 5, 1.0), ("206", 6, 1.0)]).encode()
TEXT = ali_ccp_text
SKELETON_DAMAGE = {  # reason: a line with it
    TEXT.COLUMNS[TEXT.SKELETON]: b"1,0,0,abc",
    TEXT.EMPTY["sample_id"]: GOOD[1:],
    TEXT.SAMPLE: GOOD.replace(b"7,1", b"7a,1"),
    TEXT.LABEL["click"]: GOOD.replace(b"7,1,", b"7,2,"),
    TEXT.LABEL["conversion"]: GOOD.replace(b"7,1,0", b"7,1,no"),
    TEXT.COUNT: GOOD.replace(b",2,", b",two,"),
    TEXT.MISCOUNT: GOOD.replace(b",2,", b",3,"),
    TEXT.PARTS: GOOD.replace(b"206\x026\x031.0", b"206\x026"),
    TEXT.ID: GOOD.replace(b"\x026\x03", b"\x026x\x03"),
    TEXT.VALUE: GOOD.replace(b"\x026\x031.0", b"\x026\x03nan"),
    text_lines.ENCODING: GOOD.replace(b"7,1", b"\xff7,1"),
}


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


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("manual")
    ali_ccp_files.write(SPEC, folder / "ali_ccp")
    return folder


@pytest.fixture(scope="module")
def whole(manual, tmp_path_factory):
    return load(manual, tmp_path_factory.mktemp("whole"))


WHOLE = GOOD.replace(b"nowhere", b"%s")  # with common features
USED = {
    TEXT.NOT_FOUND: GOOD,
    TEXT.NO_INDEX: GOOD.replace(b"nowhere", b""),
    TEXT.UNKNOWN: GOOD.replace(b"205\x025", b"999\x025").replace(b"nowhere", b"%s"),
}
COMMON_DAMAGE = {
    TEXT.COLUMNS[TEXT.COMMON]: b"abc,1",
    TEXT.EMPTY["common_index"]: b",0,",
    TEXT.COUNT: b"abc,,",
    TEXT.MISCOUNT: b"abc,2,101\x021\x031",
    TEXT.PARTS: b"abc,1,101\x021",
    TEXT.ID: b"abc,1,101\x02-1\x031",
    TEXT.VALUE: b"abc,1,101\x021\x031e999",
    text_lines.ENCODING: b"\xc3(,0,",
}


def test_every_kind_of_damage_is_counted_and_shown(manual, whole, tmp_path, capsys):
    """Among good lines, which are read as ever. Each kind once more than the one before it."""
    skeleton, common = (
        lines_of(manual, f"{n}_test.csv") for n in ("sample_skeleton", "common_features")
    )
    indices = [line.split(b",")[0] for line in common]
    used = {reason: line.replace(b"%s", indices[0]) for reason, line in USED.items()}
    first, count, rows = {}, {}, len(skeleton)
    for lines, kinds in ((skeleton, SKELETON_DAMAGE | used), (common, COMMON_DAMAGE)):
        for times, (reason, line) in enumerate(kinds.items(), 1):
            first[id(lines), reason] = len(lines) + 1
            count[id(lines), reason] = times
            lines += [line] * times
        lines.append(b"")  # a blank line is one without its columns
        columns = next(iter(kinds))
        count[id(lines), columns] += 1
    first[id(common), TEXT.TWICE], count[id(common), TEXT.TWICE] = len(common) + 1, 3
    common += [indices[3] + b",0,"] * 3
    folder = copied(manual, tmp_path, sample_skeleton_test=skeleton, common_features_test=common)
    data = load(folder, tmp_path, f"{OPTIONS},damaged=60")
    shown = capsys.readouterr().out
    notes = data.notes["lines"]
    for key, lines, name in (
        ("test", skeleton, "sample_skeleton_test.csv"),
        ("common_features_test.csv", common, "common_features_test.csv"),
    ):
        wanted = {r.text: n for (where, r), n in count.items() if where == id(lines)}
        assert {reason: f["lines"] for reason, f in notes[key]["damage"].items()} == wanted
        assert notes[key]["lines"] == len(lines)
        for (where, reason), n in count.items():
            if where == id(lines):
                assert notes[key]["damage"][reason.text]["first"] == first[where, reason]
                what = "skipped" if reason.left_out else "used in part"
                assert f"{name}: {n} of {len(lines)} lines {what}: {reason.text}; the first is" in (
                    shown
                )
    description.show(
        data, account=True
    )  # again whenever it is looked at, not only when it is prepared
    again = capsys.readouterr().out
    assert len(data.notes["account"]) >= 20
    assert all(line in again and line in shown for line in data.notes["account"])
    assert len(count) >= 20
    for key in ("train", "validation", "common_features_train.csv"):
        assert notes[key]["damage"] == {}
    # What is good is read as ever; and those lines that are used in part.
    usual, got = SplitReader(whole, "test").everything(), SplitReader(data, "test").everything()
    kept = sum(count[id(skeleton), reason] for reason in USED)
    assert len(got.ids) == rows + kept
    np.testing.assert_array_equal(got.ids[:rows], usual.ids)
    np.testing.assert_array_equal(got.weights[:rows], usual.weights)
    users = got.ids[rows:, 0]  # unknown where no common features were found
    nowhere = sum(count[id(skeleton), reason] for reason in (TEXT.NOT_FOUND, TEXT.NO_INDEX))
    assert (users[:nowhere] == 0).all()
    np.testing.assert_array_equal(data.groups("test")[rows : rows + nowhere] < 0, True)
    assert (data.groups("test")[rows + nowhere :] > 0).all()


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("sample_skeleton_train", [b"x"] * 9, r"9 of 9 lines are damaged"),
        ("common_features_test", [b"x"] * 9, r"9 of 9 lines .* not 3 columns; the first is line 1"),
        ("sample_skeleton_test", [WHOLE, WHOLE, b"x"], r"1 of 3 lines .* at most 20 % may be"),
        (
            "sample_skeleton_test",
            [WHOLE, WHOLE, GOOD],
            r"1 of 3 lines .* may be .*no line of common",
        ),
        ("sample_skeleton_test", [], r"holds no lines"),
        (
            "sample_skeleton_train",
            [WHOLE] * 9,
            r"none of its 9 lines falls into validation",
        ),
    ],
)
def test_a_file_with_too_much_damage_is_refused(manual, tmp_path, name, lines, message):
    part = name.rpartition("_")[2]
    index = lines_of(manual, f"common_features_{part}.csv")[0].partition(b",")[0]
    lines = [line.replace(b"%s", index) for line in lines]
    folder = copied(manual, tmp_path, **{name: lines})
    with pytest.raises(UserError, match=message):
        load(folder, tmp_path)


def test_what_was_prepared_with_more_damage_is_judged_and_told_again(manual, tmp_path, capsys):
    skeleton = lines_of(manual, "sample_skeleton_test.csv")
    common = lines_of(manual, "common_features_test.csv")
    folder = copied(manual, tmp_path, sample_skeleton_test=skeleton + [b"x"] * 300)
    load(folder, tmp_path, f"{OPTIONS},damaged=50")
    assert "300 of 700 lines skipped" in capsys.readouterr().out
    load(folder, tmp_path, f"{OPTIONS},damaged=50")
    told = (
        "ali_ccp: 300 damaged lines were left out when it was prepared; python -m experiments.pre"
    )
    assert told in capsys.readouterr().out
    refusal = (
        r"when test was prepared, 300 of 700 lines .*skeleton_test.csv: 300 of .*line 401: 'x'"
    )
    with pytest.raises(UserError, match=refusal):
        load(folder, tmp_path)
    lost = copied(manual, tmp_path / "2", common_features_test=common[:1])
    with pytest.raises(UserError, match=r"of 400 lines are damaged.* no line of common features"):
        load(lost, tmp_path / "2")


def test_files_that_are_not_there_or_cannot_be_read(manual, tmp_path, monkeypatch):
    monkeypatch.delenv("DTN_MANUAL_DIR", raising=False)
    with pytest.raises(UserError, match=r"not downloaded: get it from https://tianchi"):
        catalog.load("ali_ccp", data_dir=str(tmp_path / "data"))
    folder = copied(manual, tmp_path)
    path = folder / "ali_ccp" / "common_features_test.csv"
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(UserError, match=r"holds .* but no common_features_test\.csv or common_fea"):
        load(folder, tmp_path)
    (path.parent / f"{path.name}.gz").write_bytes(gzip.compress(whole)[:2000])
    with pytest.raises(UserError, match=r"common_features_test\.csv\.gz cannot be read"):
        load(folder, tmp_path)
    (tmp_path / "empty" / "ali_ccp").mkdir(parents=True)
    with pytest.raises(UserError, match=r"holds neither sample_skeleton_train\.csv, .* nor train_"):
        load(tmp_path / "empty", tmp_path)
    with pytest.raises(UserError, match="=0: expected a whole number at least 1"):
        load(manual, tmp_path, "min_count=0")
    with pytest.raises(UserError, match=r"data.options pooling 'summ'. Did you mean 'sum"):
        load(manual, tmp_path, "pooling=summ")
