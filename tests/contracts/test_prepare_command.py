"""The command that prepares a data set, what it shows of it, and --describe."""

import polars as pl
import pytest
from own_log import SCHEMA, log

from dtn_jax.cli import prepare
from dtn_jax.data.describe import labels
from dtn_jax.data.sets import catalog
from dtn_jax.errors import UserError


def test_help_lists_the_options_of_every_data_set(capsys):
    with pytest.raises(SystemExit):
        prepare.main(["--help=options"])
    shown = capsys.readouterr().out
    words = " ".join(shown.split())
    assert "kuairand_pure: none" in words
    for name, builder in catalog.DATASETS.items():
        assert name in words
        for key, found in builder.OPTIONS.items():
            assert f"{key}={found.default}: {found.help} [{found.expected}]" in words
    assert "buckets=64: quantile buckets of a numeric field [a whole number at least 2" in words
    assert max(map(len, shown.splitlines())) < 80


def test_a_built_in_set(tmp_path, prepared_dir, capsys):
    page = tmp_path / "adult.html"
    prepare.main(["--dataset=adult", f"--data_dir={prepared_dir}", "--describe", f"--html={page}"])
    shown = capsys.readouterr().out
    assert "29,305 train (60.0 %), 3,256 validation (6.7 %), 16,281 test (33.3 %)" in shown
    assert "never_married@all" in shown
    assert "relationship" in shown
    assert shown.rstrip().endswith(f"As a page: {page}")
    assert page.read_text().startswith("<!doctype html>")


def test_own_logs_are_described_once_they_are_prepared(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.yaml").write_text(SCHEMA)
    log().write_parquet("log.parquet")
    describe = ["--schema=shop.yaml", "--data_dir=data", "--describe"]
    with pytest.raises(UserError, match=r"shop.yaml is not prepared in .* run dtn-jax"):
        prepare.main(describe)
    prepare.main(["--schema=shop.yaml", "--data_dir=data", "--input=log.parquet"])
    shown = capsys.readouterr().out
    assert "split by time: validation from 2026-03-09, test from 2026-03-10" in shown
    assert "9,600 train (80.0 %), 1,200 validation (10.0 %), 1,200 test (10.0 %) rows" in shown
    table = shown.partition("Fields of shop")[2].partition("fingerprint")[0]
    assert max(map(len, table.splitlines())) <= 80
    (user,) = (line.split() for line in table.splitlines() if line.startswith("user "))
    assert user[-1] == "%"
    assert float(user[-2]) > float(user[-6]) > 0
    prepare.main(describe)
    page = tmp_path / "data/logs/shop/shop_description.html"
    assert f"As a page: {page}" in capsys.readouterr().out
    assert page.exists()
    prepare.main(describe)  # the page is no part of the set, whose checksums still hold


@pytest.mark.parametrize("label", [0, 1])
def test_a_label_that_is_the_same_in_all_of_train_is_told(tmp_path, monkeypatch, capsys, label):
    """Though it varies in test, and in a later block."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(labels, "BLOCKS", 1)
    last = pl.int_range(pl.len()) >= pl.len() - 100
    late = pl.int_range(pl.len()) >= 5000
    log().with_columns(
        order=pl.when(last).then(1 - label).otherwise(label), click=late.cast(int)
    ).write_parquet("log.parquet")
    schema = SCHEMA.replace("order: {upstream: [click], also_report: [click]}", "order:")
    (tmp_path / "shop.yaml").write_text(schema)
    command = ["--schema=shop.yaml", "--data_dir=data"]
    prepare.main([*command, "--input=log.parquet"])
    shown = capsys.readouterr().out
    assert f"task 'order': all 9,600 labels in train are {label}: there is nothing" in shown
    assert "task 'click'" not in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=adults"], "Did you mean 'adult'"),
        ([], "give one of --infer, --schema, --dataset"),
    ],
)
def test_bad_arguments_are_named(arguments, message, prepared_dir):
    with pytest.raises(UserError, match=message):
        prepare.main([*arguments, f"--data_dir={prepared_dir}"])
