"""How many bad rows are allowed, and where the account of them is."""

import json

import pytest
from damaged_logs import FLAT, ROWS, columns, frame, lines_of, schema_file, small_pieces, write

from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.datasets.logs.rows.account import KEPT, Account
from dtn_jax.errors import UserError
from experiments.prepare import main


def test_as_many_as_the_limit_pass_and_one_more_fails():
    for count in range(1, 3_000):
        for most, rows in ((0.001, 1_000), (0.01, 100), (0.29, 100 / 29), (0.07, 100 / 7)):
            rows = round(rows * count * 203)
            allowed = round(most * rows)
            assert not Account(rows, {"why": allowed}).exceeds(most)
            assert Account(rows, {"why": allowed, "too": 1}).exceeds(most)
    assert not Account(10).exceeds(0.0)
    assert Account(10, {"why": 1}).exceeds(0.0)
    assert not Account(10, {"why": 10}).exceeds(1.0)


@pytest.mark.parametrize("bad", [2, 3])
def test_a_tenth_of_a_percent_is_allowed(bad, tmp_path, monkeypatch):
    small_pieces(monkeypatch)
    raw = write(tmp_path / "log.parquet", frame({"w": dict.fromkeys(range(bad), -1.0)}))
    if bad == 3:
        with pytest.raises(UserError, match=r"3 of 2,000 rows are bad \(0.15 %\)"):
            prepare(schema_file(tmp_path), str(raw), tmp_path, processes=1)
        assert not (tmp_path / "logs/shop/1.0.0").exists()
        return
    made = prepare(schema_file(tmp_path), str(raw), tmp_path, processes=1)
    assert sum(made.rows.values()) == ROWS - 2


def test_what_the_command_shows(tmp_path, capsys):
    """The first bad rows of each reason with file and row, counts, and where all of them are."""
    rows = {"price": {4: "dear", 9: "cheap", 700: "?", 1_300: "-"}, "click": {5: "2", 1_999: "3"}}
    raw = write(tmp_path / "log.csv", frame(rows))
    schema = schema_file(tmp_path, FLAT)
    command = [f"--schema={schema}", f"--input={raw}", f"--data_dir={tmp_path}", "--processes=1"]
    with pytest.raises(UserError) as told:
        main(command)
    assert "6 of 2,000 rows are bad (0.3 %), more than --max_reject_rate=0.001" in str(told.value)
    kept = tmp_path / "logs/shop/rejects.jsonl"
    assert f"wrong type: {raw}, row 6, column 'price': 'dear'" in str(told.value)
    assert f"the first rows of each kind are in {kept}" in str(told.value)
    assert len(lines_of(kept)) == 6
    lines = capsys.readouterr().out.splitlines()
    first = (
        f"4 of 2,000 rows rejected: wrong type: {raw}, row 6, column 'price': 'dear'; {raw}, row"
    )
    assert any(line.startswith(first) for line in lines)
    main([*command, "--max_reject_rate=0.003"])
    shown = capsys.readouterr().out
    assert first in shown
    assert "2 of 2,000 rows rejected: label of 'click' outside its range, 0 or 1: " in shown
    assert "the first bad rows of each kind are in rejects.jsonl, beside the set's files" in shown
    folder = tmp_path / "logs/shop/1.0.0"
    assert f"In {folder}" in shown
    assert not kept.exists()  # the account of the call that failed
    rows = sorted(line["row"] for line in lines_of(folder / "rejects.jsonl"))
    assert rows == [6, 7, 11, 702, 1_302, 2_001]
    main([*command, "--max_reject_rate=0.003"])  # a set that is there already: its account again
    assert first in capsys.readouterr().out
    with pytest.raises(UserError) as told:  # by another limit than that by which it was made
        main(command)
    assert f"{folder} was prepared without 6 of 2,000 rows" in str(told.value)
    assert "bad (0.3 %), more than --max_reject_rate=0.001 allows: 4 of 2,000" in str(told.value)
    assert (folder / "prepared.json").exists()


def test_the_first_rows_of_each_reason_are_kept(tmp_path):
    every = dict.fromkeys(range(100, 100 + KEPT + 50), -1.0)
    raw = write(tmp_path / "log.parquet", frame({"w": every, "click": {1_500: 2}}))
    made = prepare(schema_file(tmp_path), str(raw), tmp_path, processes=1, max_reject_rate=1.0)
    kept = lines_of(made.folder / "rejects.jsonl")
    assert [line["row"] for line in kept] == [*range(101, 101 + KEPT), 1_501]
    notes = json.loads((made.folder / "notes.json").read_text())
    assert list(notes["rejected"].values()) == [KEPT + 50, 1]
    assert notes["read"] == len(columns()["w"])
