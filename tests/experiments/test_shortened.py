"""Tables that cost less: they say so, and stand beside nothing that was trained in full."""

import dataclasses

import pytest
from untrained_tables import TINY

from dtn_jax.errors import UserError
from experiments import paper_tables
from experiments.tables import cells, protocol_files
from experiments.tables.protocol import Published, configured
from experiments.tables.shortened import MANY, SEEDS, TRIALS, cut, quick, with_settings

pytest_plugins = ["table_fixtures"]

FULL = dataclasses.replace(
    TINY,
    common=TINY.common | {"train.max_steps": 0, "train.epochs": 3},
    trials=20,
    published=(Published("A paper", "in full", {"dtn": {"income": 0.99}}),),
)
REFERENCE = {"trees": {"test": {"income@all": 0.98}, "version": "trees 1"}}


@pytest.fixture
def with_references(monkeypatch):
    monkeypatch.setattr(paper_tables.table_references, "of_data", lambda data: REFERENCE)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--quick"],
            "train.max_steps=100 (in full: no limit); 2 of 20 runs' worth of trials",
        ),
        (["--set=train.epochs=1"], "train.epochs=1 (in full: 3)"),
        (["--set=data.train_share=0.5,train.epochs=3"], "data.train_share=0.5 (in full: 1.0)"),
        (["--set=train.max_steps=7"], "train.max_steps=7 (in full: no limit)"),
        (["--set=train.max_examples=9"], "train.max_examples=9 (in full: no limit)"),
    ],
)
def test_a_shortened_table_says_so_and_stands_alone(
    arguments, said, call, untrained, with_references, tmp_path
):
    full = call(protocol=FULL)
    folder = tmp_path / "adult"
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    made = call(*arguments, protocol=FULL, folder="adult-shortened")
    assert said in "; ".join(made["shortened"])
    assert (made["references"], made["published"]) == ({}, [])
    assert (full["references"], len(full["published"])) == (REFERENCE, 1)
    assert "shortened" not in full
    page = (tmp_path / "adult-shortened" / "overall.md").read_text()
    assert page.startswith("# All architectures, shortened: adult")
    assert f"Shortened, to try it out: {said}" in page
    assert before == {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def test_many_entries_get_no_trials_and_one_seed():
    many = protocol_files.load(protocol_files.shipped()["divergence"])
    assert len(many.entries) >= MANY
    assert (quick(many).trials, quick(many).seeds) == (0, 1)
    assert "finalists" not in " ".join(cut(many, quick(many), True))
    few = dict(list(many.entries.items())[: MANY - 1])
    fewer = quick(dataclasses.replace(many, entries=few))
    assert (fewer.trials, fewer.seeds) == (TRIALS, SEEDS)


def test_where_nothing_is_tuned_there_are_no_finalists_to_cut():
    tuned = dataclasses.replace(FULL, finalists=3)
    assert any("finalists" in told for told in cut(tuned, quick(tuned), True))
    untuned = dataclasses.replace(tuned, trials=0)
    assert not any("finalists" in told for told in cut(untuned, quick(untuned), True))


def test_it_costs_less(call, untrained, monkeypatch, with_references):
    steps = []

    def run(config, data, path):
        steps.append(config.train.max_steps)
        return untrained(config, data, path)

    monkeypatch.setattr(cells, "compute", run)
    call("--quick", protocol=dataclasses.replace(FULL, seeds=9), folder="adult-shortened")
    assert steps == [100] * 4  # two entries, two seeds


def test_fewer_seeds_alone_shorten_no_training(call, untrained, with_references):
    assert call("--seeds=1", "--trials=2", protocol=FULL)["references"] == REFERENCE


def test_more_than_in_full_is_not_shortened(call, untrained, with_references):
    assert call("--set=train.epochs=9", protocol=FULL)["references"] == REFERENCE


def test_an_entry_with_a_length_of_its_own_is_shortened_too():
    entries = FULL.entries | {"dtn": FULL.entries["dtn"] | {"train.epochs": 5}}
    made = with_settings(dataclasses.replace(FULL, entries=entries), {"train.epochs": "1"})
    assert configured(made, made.entries["dtn"]).train.epochs == 1


def test_what_is_short_already_is_left_so():
    short = dataclasses.replace(TINY, seeds=1)
    assert quick(short) == short
    assert cut(short, quick(short), True) == ()


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ("data.dataset=kuairand", "--dataset or --config says it"),
        ("data.options=rows=9", "--dataset or --config says it"),
        ("data.data_dir=/x", "--data_dir says it"),
        ("model.architecture=dtn", "--entries chooses among them"),
        ("seed=3", "--seeds says how many"),
        ("replicas=2", "--together"),
        ("parallel.processes=auto", "a run of a table is one process"),
    ],
)
def test_what_the_tables_are_of_cannot_be_set(setting, hint):
    """Else a table named after one data set would show another's numbers."""
    key, _, value = setting.partition("=")
    with pytest.raises(UserError, match=rf"--set: {key} .*{hint}"):
        with_settings(FULL, {key: value})
