"""The quantiles of train's labels that stand in a run's schema."""

import dataclasses

import numpy as np
import pytest
from d2q_log import config, prepared_films
from ml_collections import ConfigDict

from dtn_jax.errors import UserError
from dtn_jax.input.reader import SplitReader
from dtn_jax.losses import label_quantiles
from dtn_jax.losses.label_quantiles import quantiles_by_id, with_label_quantiles
from dtn_jax.run import build_run
from dtn_jax.schema import Schema

ROWS = 4000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("films")
    prepared_films(made, ROWS)
    return made


@pytest.fixture
def changed_rows(monkeypatch):
    """Reads rows as `change(rows)` makes them, {attribute: array}."""
    real = SplitReader.read

    def use(change):
        def read(self, records):
            rows = real(self, records)
            return dataclasses.replace(rows, **change(rows))

        monkeypatch.setattr(SplitReader, "read", read)

    return use


def counted(run, split="train"):
    """(ids, labels, weights) of the rows of a split whose watch time is known."""
    rows = SplitReader(run.data, split).everything()
    ids = rows.ids[:, run.schema.field_names.index("duration")]
    known = rows.label_mask[:, 1]
    return ids[known], rows.labels[known, 1], np.ones(known.sum(), np.float32)


def test_they_are_those_of_trains_known_labels(folder):
    run = build_run(config(folder))
    ids, labels, weights = counted(run)
    assert 0.7 < len(labels) / run.data.rows["train"] < 0.9
    rows = run.schema.fields[1].rows
    expected = quantiles_by_id(ids, labels, weights, rows, 100)
    assert np.diff(np.bincount(ids)[1:]).any()
    np.testing.assert_array_equal(run.schema.tasks[1].quantiles, expected)
    assert run.schema.tasks[0].quantiles == ()
    assert Schema.from_json(run.schema.to_json()) == run.schema


def test_a_run_without_d2q_keeps_the_sets_schema_and_reads_no_row(folder, changed_rows):
    changed_rows(lambda rows: pytest.fail("rows are read"))
    run = build_run(config(folder, loss__tasks="watch=huber"))
    assert run.schema == run.data.schema
    assert "quantiles" not in run.schema.to_json()


def test_of_many_rows_whole_blocks_are_drawn(folder, monkeypatch):
    given = config(folder, loss__d2q__quantiles=20)
    run = build_run(given)
    whole, read = run.schema.tasks[1].quantiles, []
    monkeypatch.setattr(label_quantiles, "MOST_ROWS", 1500)
    monkeypatch.setattr(label_quantiles, "PART", 3)
    real = SplitReader.read
    monkeypatch.setattr(SplitReader, "read", lambda s, r: read.append(r) or real(s, r))
    drawn = [build_run(given).schema.tasks[1].quantiles for _ in range(2)]
    assert drawn[0] == drawn[1] != whole
    blocks = np.concatenate(read[: len(read) // 2])
    assert len(set(blocks.tolist())) == len(blocks) == 1500 // run.data.layout.block_rows
    assert max(map(len, read)) == 3
    np.testing.assert_allclose(np.median(drawn[0], axis=1), np.median(whole, axis=1), rtol=0.4)


def test_rows_weigh_what_they_weigh_in_the_loss(folder, changed_rows):
    plain = build_run(config(folder))
    ids, labels, _ = counted(plain)
    changed_rows(lambda rows: {"sample_weight": (rows.labels[:, 1] < 20) * np.float32(2)})
    loss = ConfigDict(plain.config.loss.to_dict() | {"sample_weights": True})
    got = with_label_quantiles(plain.data.schema, loss, plain.data).tasks[1].quantiles
    kept = labels < 20
    expected = quantiles_by_id(ids[kept], labels[kept], np.ones(kept.sum(), "f4"), len(got), 100)
    np.testing.assert_array_equal(got, expected)
    assert np.max(got) < 20
    again = with_label_quantiles(plain.data.schema, plain.config.loss, plain.data)
    assert again == plain.schema  # without loss.sample_weights


def test_rows_outside_of_the_tasks_space_do_not_count(folder, changed_rows):
    run = build_run(config(folder))
    click, watch = run.data.schema.tasks
    tasks = (click, dataclasses.replace(watch, space="click"))
    schema = dataclasses.replace(run.data.schema, tasks=tasks)
    changed_rows(lambda rows: {"label_mask": np.ones_like(rows.label_mask)})
    got = with_label_quantiles(schema, run.config.loss, run.data).tasks[1].quantiles
    assert got == run.schema.tasks[1].quantiles  # it is known where there was a click


def test_a_task_without_labels_is_told(folder, changed_rows):
    changed_rows(lambda rows: {"label_mask": np.zeros_like(rows.label_mask)})
    with pytest.raises(UserError, match="train has no label of 'watch', whose loss needs its"):
        build_run(config(folder))
