"""Two protocols' tables, row by row."""

import dataclasses
import types

import numpy as np
import pytest
from untrained_tables import TINY, invented

from dtn_jax.errors import UserError
from experiments import compare_tables
from experiments.tables import cells, draws, finished, kept, pack, paired
from experiments.tables.protocol import entry

pytest_plugins = ["table_fixtures"]
MORE = {
    name: dataclasses.replace(TINY, entries=TINY.entries | {name: entry(name, "mlp")})
    for name in ("mmoe", "ple")
}
FIRST = dataclasses.replace(MORE["ple"], common=TINY.common | {"train.max_steps": 5})
SECOND = MORE["mmoe"]
NAMES = ("adult_numbers", "adult")
GAIN = {"dtn": 0.01, "shared_bottom": -0.02}


def gained(config, data, run):
    """The invented cell, with another AUC for each architecture."""
    cell = invented(config, data, run)
    gain = GAIN.get(config.model.architecture, 0.0)
    for key, found in cell["results"]["test"].items():
        auc = found["auc"] + gain
        cell["results"]["test"][key] = found | {"auc": auc, "gauc": 0.6 + gain}
        cell["draws"][key] = draws.packed(auc + np.linspace(-0.1, 0.1, 20), auc)
    return cell


def grouped(config, data, run):
    """The invented cell, with a GAUC of income alone."""
    cell = invented(config, data, run)
    test = cell["results"]["test"]
    test["income@all"] = test["income@all"] | {"gauc": 0.6}
    return cell


@pytest.fixture
def protocols(monkeypatch):
    """Those of `adult_numbers` and `adult`, by name."""
    files = {"adult_numbers": FIRST, "adult": SECOND}
    monkeypatch.setattr(finished, "load", lambda path: files[path.stem])
    return files


@pytest.fixture
def compare(protocols, tmp_path, prepared_dir):
    """(arguments) -> the folder of `adult_numbers`, after the command."""

    def run(*arguments):
        places = [f"--workdir={tmp_path}", f"--data_dir={prepared_dir}"]
        compare_tables.main([*places, *arguments])
        return tmp_path / "adult_numbers"

    return run


@pytest.fixture
def two(call, untrained, compare, tmp_path, monkeypatch):
    """`compare` with both tables made; rows of `adult_numbers` differ from adult's by GAIN."""
    monkeypatch.setattr(cells, "compute", gained)
    call(protocol=FIRST)
    (tmp_path / "adult").rename(tmp_path / "adult_numbers")
    monkeypatch.setattr(cells, "compute", grouped)
    call(protocol=SECOND)
    return compare


def test_rows_are_less_those_of_the_same_names(two, capsys, drawn):
    folder = two("--datasets=adult_numbers,adult")
    printed = capsys.readouterr().out
    found = kept.read_json(folder / "overall_less_adult.json")
    for row in found["rows"]:
        for key in ("income@all", "never_married@all"):
            one = row["comparison"][key]
            assert one["difference"] == pytest.approx(GAIN[row["name"]], abs=1e-6)
            assert found["beside_metrics"][row["name"]][key]["auc"] == [0.801, 0.802]
    assert [row["name"] for row in found["rows"]] == ["dtn", "shared_bottom"]
    page = (folder / "overall_less_adult.md").read_text()
    assert page.startswith("# adult_numbers beside adult: overall\n")
    assert "| income@all, adult_numbers | income@all, adult |" in page
    assert "| `dtn` | 0.8115 ± 0.0007 | 0.8015 ± 0.0007 |" in page
    gauc = page.partition("## GAUC, mean ± standard deviation over seeds\n")[2]
    columns = [f"{task}@all, {name}" for task in ("income", "never_married") for name in NAMES]
    assert gauc.startswith(f"\n|  | {' | '.join(columns)} |\n")
    both = "0.61000 ± 0.00000 | 0.60000 ± 0.00000"
    assert f"| `dtn` | {both} | 0.61000 ± 0.00000 | not defined |" in gauc
    losses = page.partition("## log loss, mean ± standard deviation over seeds\n")[2]
    assert losses.startswith(f"\n|  | {' | '.join(columns)} |\n")
    for text in (page, printed):
        assert "AUC less that of the same row of adult: difference × 1000" in text
        assert "+10.00 [" in text
        assert "−20.00 [" in text
    assert "less that of the row of the same name in `adult`'s table" in page
    assert "of the same 16,281 test rows" in page
    assert "\n- Seeds: 2 and 2.\n" in page
    for absent in ("Fewer", "Without", "not tested"):
        assert absent not in page
    assert "](overall_less_adult.png)" in page
    assert "\n- In `adult_numbers`'s table, but not in `adult`'s: `ple`.\n" in page
    assert "\n- In `adult`'s table, but not in `adult_numbers`'s: `mmoe`.\n" in page
    made_by = (
        "`python -m experiments.compare_tables --datasets=adult_numbers,adult --table=overall`"
    )
    assert f"\n- {made_by}; runs of 20" in page
    assert (folder / "overall_less_adult.png").stat().st_size > 500


def test_fewer_seeds_can_be_asked_for(two):
    folder = two("--datasets=adult_numbers,adult", "--seeds=1")
    found = kept.read_json(folder / "overall_less_adult.json")
    assert [row["seeds"] for row in found["rows"]] == [[1], [1]]
    assert [row["comparison"] for row in found["rows"]] == [{}, {}]  # a seed alone has no spread
    assert "| `dtn` |" not in (folder / "overall_less_adult.md").read_text()
    assert not (folder / "overall_less_adult.png").exists()


def test_what_is_not_finished_is_told(two, tmp_path):
    there = pack.read(tmp_path / "adult")
    gone = ("dtn-seed2", "shared_bottom-seed")
    left = {name: cell for name, cell in there.items() if not any(g in name for g in gone)}
    assert len(left) == len(there) - 3
    pack.write(tmp_path / "adult", left)
    page = (two("--datasets=adult_numbers,adult") / "overall_less_adult.md").read_text()
    assert "\n- Fewer have finished of `dtn`: 2 and 1.\n" in page
    assert "\n- Without finished runs in one or both tables: `shared_bottom`.\n" in page


def test_a_limit_of_the_tests_is_told(two, protocols):
    protocols["adult_numbers"] = dataclasses.replace(FIRST, tested=("income",))
    page = (two("--datasets=adult_numbers,adult") / "overall_less_adult.md").read_text()
    assert "\n- not tested: `adult_numbers` limits its tests to income.\n" in page
    assert "never_married@all, adult" not in page


def test_tables_without_a_row_of_the_same_name(compare, protocols):
    protocols["adult"] = dataclasses.replace(TINY, entries={"x": TINY.entries["dtn"]}, ours="x")
    told = "adult: the first has dtn, shared_bottom, ple, the second x$"
    with pytest.raises(UserError, match=told):
        compare("--datasets=adult_numbers,adult")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--datasets=adult"], "--datasets=adult: expected two protocols, FIRST,SECOND"),
        (["--datasets=adult,adult"], "--datasets=adult,adult: expected two protocols"),
        (["--datasets=adult,adults"], "unknown dataset 'adults'"),
        (["--datasets=adult_numbers,adult", "--table=divergence"], "unknown table 'divergence'"),
        (["--datasets=adult_numbers,adult", "--table=overal"], "Did you mean 'overall'"),
        (["--datasets=adult_numbers,adult", "--seeds=0"], "--seeds=0: expected at least 1"),
    ],
)
def test_what_it_refuses(compare, arguments, told):
    with pytest.raises(UserError, match=told):
        compare(*arguments)


def test_without_finished_runs_it_says_so(compare):
    with pytest.raises(UserError, match="no row of overall has finished runs of both adult_n"):
        compare("--datasets=adult_numbers,adult")


def prepared(labels, groups, tasks=("click",)):
    """A prepared set of these test rows alone."""
    return types.SimpleNamespace(
        rows={"test": len(labels)},
        schema=types.SimpleNamespace(tasks=tasks),
        groups=lambda split: groups and np.array(groups),
        batch=types.SimpleNamespace(
            labels=np.array(labels, np.float32)[:, None],
            label_mask=np.isfinite(labels)[:, None],
        ),
    )


OWN = prepared([0, 1, np.nan, 1], [7, 7, 8, 8])


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        (OWN, prepared([1, 1, 0, np.nan], [8, 7, 7, 8]), ""),
        (OWN, prepared([0, 1, 0, 1], [7, 7, 8, 8]), "labels"),
        (OWN, prepared([0, 1, np.nan, 1], [7, 8, 7, 8]), "labels"),
        (OWN, prepared([0, 1, np.nan, 1], [7, 7, 8, 9]), "groups"),
        (OWN, prepared([0, 1, np.nan, 1], None), "groups"),
        (OWN, prepared([0, 1, np.nan], [7, 7, 8]), "number of test rows"),
        (OWN, prepared([0, 1, np.nan, 1], [7, 7, 8, 8], ("cart",)), "tasks"),
        (prepared([0, 1], None), prepared([0, 1], None), ""),
        (prepared([0, 1], None), prepared([1, 0], None), "labels"),
    ],
)
def test_each_draw_must_take_the_same_rows(one, other, differ, monkeypatch):
    def reader(data, split):
        return types.SimpleNamespace(everything=lambda: data.batch)

    monkeypatch.setattr(paired, "SplitReader", reader)
    works = {"a": types.SimpleNamespace(data=one), "b": types.SimpleNamespace(data=other)}
    if not differ:
        return paired.check_same_rows(works)
    with pytest.raises(UserError, match=f"a and b differ in the {differ}"):
        paired.check_same_rows(works)
