"""dtn-jax compare: its numbers against others, its rows matched, its refusals."""

import csv
import dataclasses
import hashlib

import numpy as np
import polars as pl
import pytest
from compared_runs import ROWS, SCHEMA, file, run, scores
from sklearn.metrics import log_loss, mean_squared_error, roc_auc_score

from configs.base import get_config
from dtn_jax.analysis.finished import read_config
from dtn_jax.cli import compare
from dtn_jax.comparison.differences import Difference, Sampled, compare_rows
from dtn_jax.errors import UserError
from dtn_jax.export.write import export_run
from dtn_jax.run.evaluate import evaluate
from dtn_jax.run.workdir import check_folder


def compared(*arguments):
    """{(task@space, metric): its Difference}."""
    *_, found = compare.compared([*arguments, "--draws=400"])[1]
    return {(one.key, one.metric): one for one in found}


def grouped(skill, group):
    """Scores of a model of some skill, of rows that lie in these groups."""
    return dataclasses.replace(scores(skill, seed=1), group=group)


def test_two_runs_are_compared_by_every_metric(tmp_path, capsys, drawn):
    one, two = scores(0.5), scores(0.6, seed=1)
    a, b = run(tmp_path / "a", one), run(tmp_path / "b", two)
    found = compared(a, b)
    every = [evaluate(s, SCHEMA, 15, False) for s in (one, two)]
    for (key, metric), line in found.items():
        own = [e[key][metric] for e in every]
        np.testing.assert_allclose([*line.a, *line.b], own, rtol=1e-6)
        np.testing.assert_allclose(line.difference, own[1] - own[0], rtol=1e-4)
        if own[0] != own[1]:  # recall@10 of groups of 10 rows at most is 1
            assert line.low < line.difference < line.high
    keys = {key for key, _ in found}
    assert keys == {"click@all", "order@click", "order@all", "watch@all"}
    own = [m for k, m in found if k == "order@all"]
    assert own == [
        *("auc", "gauc", "ndcg_at_5", "ndcg_at_10", "mrr", "recall_at_5", "recall_at_10"),
        *("logloss", "normalised_entropy", "ece", "predicted_observed"),
    ]
    assert [m for k, m in found if k == "watch@all"] == ["xauc", "rmse"]
    clicked = one.labels[:, 0] == 1
    p = 1 / (1 + np.exp(-one.logits[clicked, 1].astype(float)))
    expected = log_loss(one.labels[clicked, 1], p)
    assert found["order@click", "logloss"].a[0] == pytest.approx(expected)
    watched = one.label_mask[:, 2]
    expected = mean_squared_error(two.labels[watched, 2], two.logits[watched, 2]) ** 0.5
    assert found["watch@all", "rmse"].b[0] == pytest.approx(expected)
    assert found["click@all", "auc"].better == "B"
    assert found["watch@all", "rmse"].better == "B"
    compare.main(["--draws=400", a, b, f"--out={tmp_path / 'out'}"])
    out = capsys.readouterr().out
    last = out.splitlines()[-1]
    assert last.startswith("Verdict by AUC and XAUC: the trained state of B scores higher on ")
    assert last.endswith("which model is better, only several seeds of each can tell.")
    assert "is better on" not in last
    out = " ".join(out.split())
    assert "p ahead" in out  # the table's heading
    assert "Whether the model is better needs seeds" in out
    assert "with --config.replicas=3, and compare the two folders: dtn-jax compare NEW_A" in out
    assert "intervals are not, so one may exclude 0" in out
    assert "without the calibration that export may add" in out
    with (tmp_path / "out/compare.csv").open() as lines:
        line = next(csv.DictReader(lines))
    assert (line["task"], line["metric"], line["ahead"]) == ("click", "auc", "B")
    assert float(line["difference"]) == found["click@all", "auc"].difference
    page = (tmp_path / "out/compare.md").read_text()
    assert "| click@all | AUC |" in page
    assert "| p | ahead |" in page
    shown = [line.split() for line in page.splitlines() if "| pred |" in line]
    p = 1 / (1 + np.exp(-two.logits[:, 0].astype(float)))
    assert shown[0][7] == f"{p.mean():.4g}"
    assert f"| click@all | obs | {one.labels[:, 0].mean():.4g} |" in page
    assert f"| watch@all | obs | {one.labels[watched, 2].mean():.4g} |" in page
    assert "Verdict by AUC and XAUC: the trained state of B" in page


def test_the_interval_is_that_of_groups_drawn_again(tmp_path):
    """Against a bootstrap of whole users written here, of AUCs by scikit-learn."""
    one, two = scores(0.5), scores(0.6, seed=1)
    found = compared(run(tmp_path / "a", one), run(tmp_path / "b", two))
    line = found["click@all", "auc"]
    rng, users = np.random.default_rng(5), np.unique(one.group)
    rows_of = {u: np.flatnonzero(one.group == u) for u in users}
    draws = []
    for _ in range(200):
        rows = np.concatenate([rows_of[u] for u in rng.choice(users, len(users))])
        y = one.labels[rows, 0]
        draws.append(roc_auc_score(y, two.logits[rows, 0]) - roc_auc_score(y, one.logits[rows, 0]))
    width = line.high - line.low
    assert width == pytest.approx(2 * 1.96 * np.std(draws), rel=0.25)


def test_a_run_is_no_better_than_itself(tmp_path, capsys):
    a, copy = (run(tmp_path / name, scores(0.5)) for name in ("a", "copy"))
    for line in compared(a, copy).values():
        assert line.difference == 0
        assert line.better == ""
        assert line.p == 1
    compare.main(["--draws=400", a, copy])
    last = capsys.readouterr().out.splitlines()[-1]
    told = "no significant difference; the clearest is on click@all (B − A +0.0000, 95 % interval ["
    assert told in last


def test_the_last_line_is_the_verdict_of_the_table(tmp_path, capsys):
    """Several seeds a side: B is better at clicks and watching, A at orders."""
    weaker, stronger = ([scores(skill, seed=s) for s in range(3)] for skill in (0.3, 0.6))
    for one, other in zip(weaker, stronger):
        one.logits[:, 1], other.logits[:, 1] = other.logits[:, 1].copy(), one.logits[:, 1].copy()
    sides = [
        ",".join(run(tmp_path / f"{name}{s}", found, s) for s, found in enumerate(every))
        for name, every in (("a", weaker), ("b", stronger))
    ]
    click = compared(*sides)["click@all", "auc"]
    compare.main(["--draws=400", *sides, f"--out={tmp_path / 'out'}"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert "Verdict by AUC and XAUC: B is better on click@all (B − A +0." in last
    assert f"(B − A {click.difference:+.4f}, 95 % interval [{click.low:+.4f}, " in last
    assert "watch@all" in last.split("; ")[0]
    assert last.split("; ")[1].startswith("A is better on order@click (B − A −0.")


def test_seeds_make_a_difference_less_certain(tmp_path):
    a = [run(tmp_path / f"a{s}", scores(0.5, seed=s), s) for s in range(3)]
    b = [run(tmp_path / f"b{s}", scores(0.3 + 0.2 * s, seed=9 + s), s) for s in range(3)]
    many = compared(",".join(a), ",".join(b))["click@all", "auc"]
    single = compared(a[1], b[1])["click@all", "auc"]
    assert many.high - many.low > single.high - single.low


def test_a_side_of_one_run_has_the_scatter_of_the_other(tmp_path, capsys):
    """Five seeds that scatter widely against one that lies among them."""
    a = [run(tmp_path / f"a{s}", scores(0.3 + 0.1 * s, seed=s), s) for s in range(5)]
    b = run(tmp_path / "b", scores(0.6, seed=9))
    alone = compared(a[2], b)["click@all", "auc"]
    assert alone.better == "B"
    for sides in ((",".join(a), b), (b, ",".join(a))):
        found = compared(*sides)["click@all", "auc"]
        assert found.p > 0.2
        assert found.high - found.low > 2 * (alone.high - alone.low)
    compare.main(["--draws=400", ",".join(a), b])
    said = " ".join(capsys.readouterr().out.split())
    assert "B is one trained state, so its seeds are taken to scatter as those of A do" in said
    assert "train B again in a new folder, with --config.replicas=5" in said


BIG = np.where(np.arange(ROWS) < 0.7 * ROWS, 0, np.arange(ROWS) % 200)


@pytest.mark.parametrize(
    ("group", "why"),
    [
        (np.arange(ROWS) % 1, "its groups count as 1.0 of equal size, and it needs 12"),
        (np.arange(ROWS) % 11, "its groups count as 1"),
        (np.arange(ROWS) % 14, ""),
        (BIG, "its groups count as 2.0 of equal size, and it needs 12"),
    ],
)
def test_few_groups_get_no_verdict(tmp_path, capsys, group, why):
    a, b = (run(tmp_path / f"{skill}", grouped(skill, group)) for skill in (0.3, 0.9))
    compare.main(["--draws=400", a, b])
    said = " ".join(capsys.readouterr().out.split())
    for line in compared(a, b).values():
        assert group is BIG or np.isnan([line.p, line.low, line.high]).all() == bool(why)
        assert not (why and line.better and group is not BIG)
    assert f"click@all: no verdict: {why}" in said or not why
    untold = said.endswith("Verdict: none, since rows or groups are too few to tell A and B apart.")
    assert group is BIG or untold == bool(why)


def test_a_folder_of_both_a_run_and_replicas_is_refused(tmp_path):
    """Which of them is meant, a finished single run or the seeds beside it, is not known."""
    both = run(tmp_path / "both", scores())
    run(tmp_path / "both/replica_0", scores(), 0)
    run(tmp_path / "both/replica_1", scores(), 1)
    told = r"both holds a single run and 2 replicas; name .*/both/replica_0,"
    with pytest.raises(UserError, match=told):
        compare.main(["--draws=400", both, both])
    with pytest.raises(UserError, match=told):
        export_run([tmp_path / "both"], tmp_path / "model")
    with pytest.raises(UserError, match=told):
        read_config(tmp_path / "both", get_config())
    with pytest.raises(UserError, match=told):
        check_folder(tmp_path / "both", get_config(), "d" * 64)


def test_both_sides_have_the_same_groups(tmp_path):
    """Whatever they are called there: whose groups count would else depend on which side is A."""
    one, two = scores(0.5), scores(0.6, seed=1)
    run_ = run(tmp_path / "a", one)
    users, requests = one.group.astype(str), np.arange(ROWS) // 2
    same = file(tmp_path / "same.parquet", two, shuffled=False, group=pl.Series(users))
    other = file(tmp_path / "other.parquet", two, shuffled=False, group=pl.Series(requests))
    assert (
        compared(run_, same)["click@all", "gauc"].a == compared(same, run_)["click@all", "gauc"].b
    )
    for pair in ((run_, other), (other, run_), (same, other)):
        with pytest.raises(UserError, match=r"its rows in [\d,]+ groups, .* they are not the same"):
            compared(*pair, "--columns=watch=watch@all:watch")
    assert compared(run_, other, "--group=none").keys() == compared(run_, same).keys()


def test_rows_of_a_file_count_by_their_weights(tmp_path):
    """Also of a file that says nothing of a model; beside a run without weights not in silence."""
    one, two = scores(0.5), scores(0.6, seed=1)
    weight = np.random.default_rng(0).uniform(0.5, 2, ROWS)
    a, b = (
        file(tmp_path / f"{name}.parquet", s, sample_weight=pl.Series(weight), group=pl.lit(0))
        for name, s in (("a", one), ("b", two))
    )
    given = ("--columns=watch=watch@all:watch", "--group=none")
    p = 1 / (1 + np.exp(-one.logits[:, 0].astype(float)))
    found = compared(a, b, *given)["click@all", "logloss"]
    assert found.a[0] == pytest.approx(log_loss(one.labels[:, 0], p, sample_weight=weight))
    plain = compared(a, b, *given, "--weight=none")["click@all", "logloss"]
    assert plain.a[0] == pytest.approx(log_loss(one.labels[:, 0], p))
    named = compared(a, b, *given, "--weight=row")["click@all", "logloss"]
    assert named.a[0] == pytest.approx(
        log_loss(one.labels[:, 0], p, sample_weight=np.arange(ROWS)), rel=1e-6
    )
    with pytest.raises(UserError, match=r"a\.parquet counts rows by .*--weight=none leaves the w"):
        compared(a, run(tmp_path / "run", two), "--group=none")


def test_rows_of_a_file_are_matched_by_their_key(tmp_path):
    """Shuffled rows, probabilities, the product of spaces: the numbers of a run with its scores."""
    one, two = scores(0.5), scores(0.6, seed=1)
    a, b = run(tmp_path / "a", one), run(tmp_path / "b", two)
    other = file(tmp_path / "b.parquet", two)
    expected, found = (compared(a, side) for side in (b, other))
    assert found.keys() == expected.keys()
    for key, line in expected.items():
        for name in ("a", "b", "difference", "low", "high"):
            got, wanted = (getattr(side, name) for side in (found[key], line))
            np.testing.assert_allclose(got, wanted, atol=1e-6)
    backwards = compared(other, a)["click@all", "auc"]
    np.testing.assert_allclose(backwards.difference, -expected["click@all", "auc"].difference)


def test_two_files_are_compared_by_any_key(tmp_path):
    one, two = scores(0.5), scores(0.6, seed=1)
    a = file(tmp_path / "a.parquet", one)
    frame = pl.read_parquet(file(tmp_path / "b.parquet", two)).drop("row")
    frame.rename({"click@all": "p", "click": "clicked"}).write_parquet(tmp_path / "b.parquet")
    b = str(tmp_path / "b.parquet")
    given = ("--key=id", "--columns=click=p:clicked", "--group=none")
    found = compared(a, b, *given)
    expected = roc_auc_score(two.labels[:, 0], two.logits[:, 0])
    assert found["click@all", "auc"].b[0] == pytest.approx(expected)
    assert found["watch@all", "rmse"].difference < 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"row": pl.col("row") % 100}, "not matched by 'row', which has .* more than once"),
        ({"row": pl.col("row") + 1}, "which lacks 1 of them"),
        ({"click": 1 - pl.col("click")}, "the label of 'click' differs in 3,000 of 3,000 rows"),
        ({"click@all": pl.lit(1.5)}, "column 'click@all' has 1.5 in row 1, expected probabilities"),
        ({"click@all": pl.lit(None, pl.Float64)}, "3,000 of 3,000 scores in column 'click@all'"),
        ({"click": pl.struct("click")}, "column 'click' holds Struct.*, expected numbers"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, changes, message):
    a = run(tmp_path / "a", scores())
    other = file(tmp_path / "b.parquet", scores(), shuffled=False, **changes)
    with pytest.raises(UserError, match=message):
        compare.main(["--draws=400", a, other])


PLUGIN = """
from dtn_jax.metrics.metric import Metric
from dtn_jax.metrics.sigmoid import probabilities_of

def brier(rows, units):
    return units.quotient(rows.counts * (probabilities_of(rows) - rows.labels) ** 2, rows.counts)

METRICS = {
    "brier": Metric("brier", "Brier", lambda rows: None, higher_is_better=False, influence=brier)
}
"""


def test_metrics_of_a_runs_plug_in_are_compared(tmp_path, unload, capsys):
    one, two = scores(0.5), scores(0.6, seed=1)
    (tmp_path / "mine.py").write_text(PLUGIN)
    given = {"plugins": str(tmp_path / "mine.py")}
    a, b = run(tmp_path / "a", one, **given), run(tmp_path / "b", two, **given)
    line = compared(a, b)["click@all", "brier"]
    for side, found in ((line.a, one), (line.b, two)):
        p = 1 / (1 + np.exp(-found.logits[:, 0].astype(float)))
        assert side == pytest.approx([np.mean((p - found.labels[:, 0]) ** 2)])
    assert line.better == "B"
    (tmp_path / "mine.py").rename(tmp_path / "moved.py")
    assert ("click@all", "auc") in compared(a, b)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"plug-in {tmp_path / 'mine.py'} of {b} is not loaded (plug-in")
    assert "mine.py is not there" in line
    assert line.endswith("): its metrics are left out; --plugins=FILE gives them")
    assert ("click@all", "brier") in compared(a, b, f"--plugins={tmp_path / 'moved.py'}")


@pytest.mark.parametrize("folders", [("v1", "v2"), ("v1", "v1")])
def test_runs_of_two_versions_of_a_plug_in_are_compared(folders, tmp_path, unload, capsys):
    """Of one that was copied, the first one's metrics; of one that was edited, the new one's."""
    sides = []
    for name, folder, text in zip("ab", folders, (PLUGIN, PLUGIN + "# edited\n")):
        path = tmp_path / folder / "mine.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        sha = hashlib.sha256(text.encode()).hexdigest()
        sides.append(run(tmp_path / name, scores(), plugins=f"{path}#{sha}"))
    assert ("click@all", "brier") in compared(*sides)
    (line,) = capsys.readouterr().out.splitlines()
    copied = folders[0] != folders[1]
    assert line.startswith(f"plug-in {tmp_path / folders[1]}/mine.py of {sides[copied]} is not lo")
    assert ("the name is taken" if copied else "is not the file of this run any more") in line


def test_runs_that_cannot_be_compared_are_refused(tmp_path):
    found = scores()
    a = run(tmp_path / "a", found)
    elsewhere = run(tmp_path / "elsewhere", found, data="e" * 64)
    twin = run(tmp_path / "twin", found)
    other = run(tmp_path / "other", found, 1, optim__learning_rate=0.5)
    weighed = run(tmp_path / "weighed", found, evaluate__sample_weights=True)
    unfinished = run(tmp_path / "unfinished", found)
    (tmp_path / "unfinished/results.json").unlink()
    untested = run(tmp_path / "untested", found)
    (tmp_path / "untested/predictions.parquet").unlink()
    damaged = run(tmp_path / "damaged", found)
    (tmp_path / "damaged/predictions.parquet").write_bytes(b"PAR1 no")
    model = tmp_path / "model"
    model.mkdir()
    (model / "manifest.json").touch()
    (model / "config.json").write_text('{"config": {}}')
    for b, message in {
        elsewhere: r"tested on different data \(fingerprints dddddddddddd and eeeeeeeeeeee\)",
        f"{twin},{a}": "have the same seed",
        f"{a},{other}": r"differ in optim\.learning_rate: a side is one model",
        weighed: "counts rows by their weights",
        unfinished: "is not finished",
        untested: r"has no predictions\.parquet: its run has not read test",
        damaged: "damaged",
        str(tmp_path / "gone"): "is not there; expected a run's workdir or a Parquet file",
        str(tmp_path): "holds no run",
        str(model): "is an exported model. Score one file",
    }.items():
        with pytest.raises(UserError, match=message):
            compare.main(["--draws=400", a, b])


def test_rows_of_a_table_are_compared_by_examples_and_seeds():
    """Against quantiles of the same draws; p is corrected over the family."""
    rng = np.random.default_rng(0)
    common = rng.normal(0, 0.01, 500)
    sides = {}
    for level, shifts in {0.70: (0, 0.0002), 0.71: (0, 0.0001), 0.7001: (0, 0.0003)}.items():
        values = level + np.array(shifts)
        draws = values[:, None] + common + rng.normal(0, 0.002, (2, 500))
        sides[level] = Sampled(values, draws)
    far, near = (sides[0.71], sides[0.70]), (sides[0.7001], sides[0.70])
    found = compare_rows({"far": far, "near": near})
    assert found["far"]["difference"] == pytest.approx(0.01, abs=1e-4)
    alone = far[0].draws.mean(0) - far[1].draws.mean(0)
    low, high = np.quantile(alone, [0.025, 0.975])
    assert (found["far"]["low"], found["far"]["high"]) == pytest.approx((low, high), abs=2e-3)
    assert found["far"]["p"] < 0.01 < 0.3 < found["near"]["p"]
    assert found["far"]["p_holm"] == 2 * found["far"]["p"]
    assert found["near"]["p_holm"] == found["near"]["p"]


@pytest.mark.parametrize(
    ("a", "b", "p", "better"),
    [
        (1.03, 1.06, 0.01, "A"),
        (0.9, 0.95, 0.01, "B"),
        (0.9, 0.95, 0.2, ""),
        (0.95, 1.01, 0.01, ""),  # p is not of the distances to 1
    ],
)
def test_the_ratio_nearer_to_1_is_better(a, b, p, better):
    ends = (b - a, b - a - 0.01, b - a + 0.01)
    one = Difference("click@all", "predicted_observed", (a,), (b,), *ends, p, p, 0.001, 3000, 900)
    assert one.better == better
