"""dtn-jax rank: the powers that it finds on validation, and what it says of them on test."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from compared_runs import SCHEMA, file, run, scores
from sklearn.metrics import roc_auc_score

from dtn_jax.cli import compare, rank
from dtn_jax.comparison.rank_search import pruned, search, terms_of
from dtn_jax.errors import UserError
from dtn_jax.export.score_columns import ScoredBy
from dtn_jax.metrics.gains import Gains
from dtn_jax.metrics.influence import Units
from dtn_jax.metrics.scores import write_predictions


def ranked(folder, *arguments, skill=0.5, seed=0):
    """What `rank` finds for a run with scores of some skill, and those of test."""
    test, validation = scores(skill, seed), scores(skill, seed + 5)
    if not folder.exists():
        run(folder, test, seed)
        write_predictions(folder / "validation.parquet", validation, SCHEMA)
    rank.main([f"--workdir={folder}", "--replace", *arguments])
    return json.loads((folder / "rank.json").read_text()), test


@pytest.mark.parametrize("metric", ["auc", "gauc", "ndcg_at_10"])
def test_the_search_finds_planted_powers(metric):
    """Rows are worth 1 where a known product of three predictions is high."""
    rng, planted = np.random.default_rng(0), np.array([0.4, 1.0, -0.3])
    logs, group = rng.normal(size=(4000, 3)), rng.integers(0, 100, 4000)
    gain = (logs @ planted > 1).astype(float)
    gains = Gains(gain, np.arange(4000), Units(4000, group), group)
    found = search(lambda row: gains.value(metric, logs @ row), 3)
    np.testing.assert_allclose(found, planted, atol=0.08)
    assert gains.value(metric, logs @ found) > 0.99


def test_powers_that_may_be_noise_are_left_out():
    """Of four tasks two say something of the gain."""
    rng = np.random.default_rng(0)
    logs, group = rng.normal(size=(1000, 4)), rng.integers(0, 50, 1000)
    gain = (logs @ [0.5, 0, 1, 0] + rng.normal(size=1000) > 1).astype(float)
    gains = Gains(gain, np.arange(1000), Units(1000, group), group)
    powers = search(lambda row: gains.value("gauc", logs @ row), 4)
    assert powers.all()
    found = pruned(gains, logs, powers, "gauc")
    np.testing.assert_array_equal(found, powers * [1, 0, 1, 0])


def test_what_it_says_of_test_is_true(tmp_path, capsys):
    found, test = ranked(tmp_path / "run", "--gain=order")
    assert found["objective"] == "gauc"
    values = found["validation"]
    assert values[found["expression"]] >= max(values.values())
    assert found["equal"] == "click * order"  # the mean of watch is below 0: it has no powers
    probabilities = 1 / (1 + np.exp(-test.logits.astype(float)))
    lines = {(line["of"], line["metric"]): line for line in found["test"]}
    if all(one["method"] == "none" for one in found["calibration"].values()):
        equal = probabilities[:, 0] * probabilities[:, 1]
        auc = roc_auc_score(test.labels[:, 0], equal)
        assert lines["click", "auc"]["equal"] == pytest.approx(auc, abs=1e-9)
    for line in lines.values():
        if line["low"] is not None:
            assert line["low"] <= line["difference"] <= line["high"]
    said = capsys.readouterr().out
    assert f"A: {found['equal']}, B: {found['expression']}" in said
    beside = f"A: {found['alone']}, B: {found['expression']}" in said
    assert beside == (found["alone"] != found["expression"])
    assert found["alone"] == max(("click", "order"), key=values.get)
    alone = probabilities[:, ["click", "order"].index(found["alone"])]
    (line,) = (o for o in found["test_beside_alone"] if (o["of"], o["metric"]) == ("order", "auc"))
    known = test.label_mask[:, 1] == 1
    auc = roc_auc_score(test.labels[known, 1], alone[known])
    assert line["equal"] == pytest.approx(auc, abs=1e-6)
    before = (tmp_path / "run/rank.json").read_bytes()
    with pytest.raises(UserError, match="is there: --replace"):
        rank.main([f"--workdir={tmp_path / 'run'}", "--gain=click"])
    assert (tmp_path / "run/rank.json").read_bytes() == before


def test_it_picks_by_validation_alone(tmp_path):
    before, test = ranked(tmp_path / "run", "--gain=click + 5*order", "--objective=ndcg_at_10")
    labels = np.random.default_rng(1).permutation(test.labels)
    other = dataclasses.replace(test, labels=labels)
    write_predictions(tmp_path / "run/predictions.parquet", other, SCHEMA)
    after, _ = ranked(tmp_path / "run", "--gain=click + 5*order", "--objective=ndcg_at_10")
    assert after["expression"] == before["expression"]
    assert after["validation"] == before["validation"]
    assert after["test"] != before["test"]
    assert "click + 5*order" in {line["of"] for line in after["test"]}


def test_compare_has_the_ranks_of_both_sides(tmp_path):
    one, _ = ranked(tmp_path / "a", "--gain=order")
    two, _ = ranked(tmp_path / "b", "--gain=click", skill=0.8, seed=1)
    *_, found = compare.compared([str(tmp_path / "a"), str(tmp_path / "b")])[1]
    lines = {(line.key, line.metric): line for line in found}
    for side, facts in (("a", one), ("b", two)):
        told = {(line["of"], line["metric"]): line["found"] for line in facts["test"]}
        for task in ("click", "order"):
            for metric in ("auc", "gauc", "ndcg_at_5", "recall_at_10"):
                (got,) = getattr(lines[f"rank: {task}", metric], side)
                assert got == pytest.approx(told[task, metric], abs=1e-12)
    (tmp_path / "b/rank.json").write_text("{}")
    with pytest.raises(UserError, match=r"rank\.json is missing or damaged"):
        compare.compared([str(tmp_path / "a"), str(tmp_path / "b")])[1]
    (tmp_path / "b/rank.json").unlink()
    *_, found = compare.compared([str(tmp_path / "a"), str(tmp_path / "b")])[1]
    assert not [line for line in found if line.key.startswith("rank")]


def test_compare_has_the_ranks_of_two_files(tmp_path):
    """Of files that models with a ranking score wrote; another column of that name is none."""
    test, paths = scores(0.5), [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    probability = 1 / (1 + np.exp(-test.logits[:, 0].astype(float)))
    outputs = ("click@all", "order@click", "rank")
    kinds = {"click": "binary", "order": "binary"}
    by = ScoredBy("m", "", outputs, kinds, "", "", True)
    for path, score in zip(paths, (probability, -probability)):
        frame = pl.read_parquet(file(path, test, path == paths[1], rank=pl.Series(score)))
        frame = frame.drop("watch", "watch@all").rename({t: f"label/{t}" for t in kinds})
        frame.write_parquet(path, metadata=by.metadata())
    arguments = [*map(str, paths), "--group=none"]
    *_, found = compare.compared(arguments)[1]
    auc = roc_auc_score(test.labels[:, 0], probability)
    (line,) = (one for one in found if (one.key, one.metric) == ("rank: click", "auc"))
    assert (*line.a, *line.b) == pytest.approx((auc, 1 - auc))
    assert line.better == "A"
    unknown = frame.with_columns(rank=pl.when(pl.col("row") > 0).then("rank"))
    unknown.write_parquet(paths[1], metadata=by.metadata())
    with pytest.raises(UserError, match=r"b\.parquet: 1 of .* rows have no ranking score"):
        compare.compared(arguments)[1]
    frame.write_parquet(paths[1])
    *_, found = compare.compared(arguments)[1]
    assert not [one for one in found if one.key.startswith("rank")]


def test_refusals(tmp_path):
    ranked(tmp_path / "run", "--gain=click")
    old = run(tmp_path / "old", scores())
    for arguments, told in {
        (f"--workdir={old}", "--gain=click"): "validation.parquet is missing or damaged",
        (f"--workdir={tmp_path}", "--gain=click"): "holds no run",
        ("--workdir=run", "--gain=clik"): "unknown task in --gain 'clik'.",
        ("--workdir=run", "--gain=-click"): "expected gains of 0 or more",
        ("--workdir=run", "--gain=0*click"): "not defined on validation",
        ("--workdir=run", "--gain=click", "--objective=mrr"): "unknown objective 'mrr'",
        ("--workdir=run",): "--gain is missing",
    }.items():
        arguments = [a.replace("=run", f"={tmp_path / 'run'}") for a in (*arguments, "--replace")]
        with pytest.raises(UserError, match=told):
            rank.main(arguments)


def test_names_that_need_backquotes_have_them():
    names = ("click", "in", "watch time")
    tasks = [SimpleNamespace(name=name, kind="binary") for name in names]
    assert terms_of(SimpleNamespace(tasks=tasks), {}) == ["click", "`in`", "`watch time`"]
