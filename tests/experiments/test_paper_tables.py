"""Paper tables: each run once, kept when things go wrong, and the same whoever does them."""

import contextlib
import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from rich.console import Console

from dtn_jax.metrics.significance import resampled_aucs
from dtn_jax.models import build as architectures
from dtn_jax.models.flops import Size
from dtn_jax.schema import Field, Schema, Task, UserError
from experiments import paper_tables
from experiments.tables import cells
from experiments.tables import work as table_work
from experiments.tables.entries import NEAR, TABLES, ablation, interactions, matched, sensitivity
from experiments.tables.protocols import PROTOCOLS, Protocol, entry
from experiments.tables.work import Work

ROOT = pathlib.Path(__file__).parents[2]
PROTOCOLS_AS_SHIPPED = dict(PROTOCOLS)
TINY = Protocol(
    config="configs/adult.py",
    common={
        "train.max_steps": 4,
        "train.epochs": 1,
        "model.embedding_dim": 4,
        "model.expert_dim": 8,
        "model.tower_hidden": (8,),
        "model.mlp.hidden": (8,),
        "optim.learning_rate": 3e-2,
        "optim.table_learning_rate": 3e-2,
        "parallel.devices": 1,
    },
    entries={"dtn": entry("dtn", "mlp"), "shared_bottom": entry("shared_bottom", "mlp")},
    trials=1,
    tuning={"data.train_share": 0.1, "train.max_steps": 2},
    seeds=2,
    width="model.mlp.hidden",
    sensitivity={"model.embedding_dim": (4,)},
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(PROTOCOLS, "adult", TINY)
    monkeypatch.setattr(paper_tables.rich, "print", Console(width=100).print)
    few = functools.partial(resampled_aucs, draws=20)
    monkeypatch.setattr(cells, "resampled_aucs", few)


@pytest.fixture
def call(prepared_dir, tmp_path):
    def run(*arguments, table="overall"):
        workdir = f"--workdir={tmp_path}"
        given = ["--dataset=adult", f"--table={table}", f"--data_dir={prepared_dir}", workdir]
        paper_tables.main([*given, *arguments])
        return json.loads((tmp_path / "adult" / f"{table}.json").read_text())

    return run


def invented(config, data, run):
    """A cell that costs nothing; what it says depends on the seed alone."""
    auc = 0.8 + config.seed / 1000
    found = {"auc": auc, "logloss": 0.3, "ece": 0.1, "positives": 500, "examples": 1000}
    results = {"seed": config.seed, "test": {f"{t}@all": found for t in data.schema.task_names}}
    results |= {"experts": "mlp", "parameters": 1}
    results |= {"table_parameters": 1, "flops_per_example": 1}
    draws = cells.packed(auc + np.linspace(-0.1, 0.1, 20), auc)
    return {
        "results": results,
        "train_seconds": 1.0,
        "draws": dict.fromkeys(results["test"], draws),
        **cells.origin(config, data),
    }


def untuned(protocol, name, config, data, run):
    kept = {"settings": {}, "value": 0.5, "budget": {}, "at_edge": []}
    return kept | cells.origin(config, data)


@pytest.fixture
def untrained(monkeypatch):
    """Runs and tunings that cost nothing."""
    monkeypatch.setattr(cells, "compute", invented)
    monkeypatch.setattr(cells, "tune", untuned)
    monkeypatch.setattr(paper_tables.table_plots, "draw", lambda found, stem: [])
    return invented


def kept(tmp_path):
    return {p: p.stat().st_mtime_ns for p in sorted((tmp_path / "adult" / "cells").glob("*"))}


def test_a_table_is_made_gone_on_with_and_extended(call, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "adult"
    found = call("--seeds=1")
    assert [row["name"] for row in found["rows"]] == ["dtn", "shared_bottom"]
    assert [row["seeds"] for row in found["rows"]] == [[1], [1]]
    assert found["missing"] == {}
    assert len(list((folder / "tuning").glob("*.json"))) == 2
    first = kept(tmp_path)
    assert len(first) == 2
    for name in ("overall.md", "overall.tex", "overall.csv", "report.html"):
        assert (folder / name).stat().st_size > 500
    assert (folder / "overall_cost.pdf").exists()
    assert "![overall_cost](overall_cost.png)" in (folder / "overall.md").read_text()
    assert not (folder / "overall_differences.png").exists()  # of one seed
    shown = capsys.readouterr().out
    assert re.search(r"income +never_married", shown)

    with monkeypatch.context() as patched:  # nothing is done again
        patched.setattr(cells, "train", None)
        again = call("--seeds=1")
    assert again["rows"] == found["rows"]
    assert kept(tmp_path) == first

    later = call("--seeds=2")
    assert [row["seeds"] for row in later["rows"]] == [[1, 2], [1, 2]]
    assert first.items() <= kept(tmp_path).items()
    assert len(kept(tmp_path)) == 4

    assert (folder / "overall_differences.png").exists()

    monkeypatch.setattr(cells, "train", None)
    varied = call("--seeds=2", table="sensitivity")  # 4 is what ours has: nothing is new
    assert [row["name"] for row in varied["rows"]] == ["dtn", "embedding_dim = 4"]
    assert varied["rows"][1]["comparison"] == {}
    report = (folder / "report.html").read_text()
    assert "All architectures" in report
    assert "DTN at other sizes" in report
    assert report.count("data:image/png;base64") == 3


def test_what_fails_loses_nothing_else(call, tmp_path, monkeypatch, untrained):
    def fails(config, data, run):
        if config.model.architecture == "dtn" and config.seed == 2:
            raise MemoryError("the device is full")
        return untrained(config, data, run)

    monkeypatch.setattr(cells, "compute", fails)
    with pytest.raises(UserError, match=r"(?s)could not be done.*dtn, seed 2.*device is full"):
        call()
    found = json.loads((tmp_path / "adult" / "overall.json").read_text())
    assert [row["seeds"] for row in found["rows"]] == [[1], [1, 2]]
    assert found["missing"] == {"dtn": 1}
    assert "runs still missing: 1 (dtn)" in (tmp_path / "adult" / "overall.md").read_text()
    first = kept(tmp_path)

    def interrupted(config, data, run):
        raise KeyboardInterrupt

    monkeypatch.setattr(cells, "compute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        call()
    assert kept(tmp_path) == first
    monkeypatch.setattr(cells, "compute", untrained)
    assert call()["missing"] == {}
    assert first.items() <= kept(tmp_path).items()


def test_doing_some_rows_leaves_the_others_in_the_table(call, untrained):
    call("--seeds=1")
    later = call("--seeds=2", "--entries=dtn")
    assert [row["seeds"] for row in later["rows"]] == [[1, 2], [1]]


def test_a_new_option_stops_no_run_that_was_cut(call, tmp_path, monkeypatch):
    """What was cut under other options is begun anew: its folder would refuse to go on."""
    train = cells.train

    def cut(config, run):
        train(config, run)
        raise KeyboardInterrupt

    monkeypatch.setattr(cells, "train", cut)
    with pytest.raises(KeyboardInterrupt):
        call("--entries=shared_bottom", "--seeds=1")
    monkeypatch.setattr(cells, "train", train)
    identity = cells.options.identity
    with_another = lambda config: identity(config) | {"model.another": 1}  # noqa: E731
    monkeypatch.setattr(cells.options, "identity", with_another)
    monkeypatch.setattr(cells, "changed", lambda config: {"seed": str(config.seed)})
    assert call("--entries=shared_bottom", "--seeds=1")["rows"]


def test_seeds_together_find_what_they_find_alone(call, tmp_path):
    alone = call("--entries=shared_bottom")
    for path in kept(tmp_path):
        path.unlink()
    together = call("--entries=shared_bottom", "--together=always")
    assert any(p.name.endswith("-together") for p in (tmp_path / "adult" / "runs").iterdir())
    for one, other in zip(alone["rows"], together["rows"], strict=True):
        for key, metrics in one["metrics"].items():
            assert metrics["auc"] == pytest.approx(other["metrics"][key]["auc"], abs=2e-4)
            assert len(set(metrics["auc"])) == 2  # seeds


def test_one_seeds_fault_is_not_that_of_those_together_with_it(
    call, tmp_path, monkeypatch, untrained
):
    def together(configs, data, run):
        raise UserError("replica 1: the loss is not finite")

    def alone(config, data, run):
        if config.seed == 2:
            raise UserError("the loss is not finite")
        return untrained(config, data, run)

    monkeypatch.setattr(cells, "compute_together", together)
    monkeypatch.setattr(cells, "compute", alone)
    with pytest.raises(UserError, match=r"shared_bottom, seed 1, 2, 3: seed 2: the loss is not"):
        call("--entries=shared_bottom", "--together=always", "--seeds=3")
    found = json.loads((tmp_path / "adult" / "overall.json").read_text())
    assert [row["seeds"] for row in found["rows"]] == [[1, 3]]


def test_entries_are_looked_up_in_all_tables_before_the_first_is_made(call, untrained, tmp_path):
    expected = r"unknown entry 'embedding_dim = 8'.* shared_bottom; embedding_dim = 4\."
    with pytest.raises(UserError, match=expected):
        call("--table=overall,sensitivity", "--entries=shared_bottom;embedding_dim = 8")
    assert not kept(tmp_path)
    call("--table=overall,sensitivity", "--entries=shared_bottom;embedding_dim = 4", "--seeds=1")
    assert len(kept(tmp_path)) == 2


def test_what_another_process_tunes_keeps_nothing_else_waiting(call, untrained, monkeypatch):
    tune, order = Work.tune, []

    def slow(work, name, label):
        if name == "dtn" and len(order) < 2:
            return False  # as if another process did it
        return tune(work, name, label)

    def train(config, data, run):
        order.append(config.model.architecture)
        return untrained(config, data, run)

    monkeypatch.setattr(Work, "tune", slow)
    monkeypatch.setattr(table_work, "LOOK", 0)
    monkeypatch.setattr(cells, "compute", train)
    call("--seeds=2")
    assert order == ["shared_bottom"] * 2 + ["dtn"] * 2


def test_an_entry_that_cannot_be_locked_is_not_waited_for(call, untrained, monkeypatch):
    locked = cells.locked

    def full(path):
        if path.name.startswith("dtn"):
            raise OSError(28, "No space left on device")
        return locked(path)

    monkeypatch.setattr(cells, "locked", full)
    monkeypatch.setattr(table_work.time, "sleep", lambda _: pytest.fail("it waits"))
    with pytest.raises(UserError, match=r"tuning dtn: OSError: .*No space left"):
        call("--seeds=1")


def test_an_entry_whose_tuning_fails_is_not_waited_for(call, untrained, monkeypatch, tmp_path):
    def fails(protocol, name, *rest):
        if name == "dtn":
            raise UserError("no trial succeeded")
        return untuned(protocol, name, *rest)

    monkeypatch.setattr(cells, "tune", fails)
    monkeypatch.setattr(table_work.time, "sleep", lambda _: pytest.fail("it waits"))
    with pytest.raises(UserError, match="tuning dtn: no trial succeeded"):
        call("--seeds=1")
    found = json.loads((tmp_path / "adult" / "overall.json").read_text())
    assert [row["name"] for row in found["rows"]] == ["shared_bottom"]


def test_a_cell_of_other_defaults_is_not_taken(call, tmp_path, untrained):
    call("--entries=shared_bottom", "--seeds=1")
    (path,) = kept(tmp_path)
    cell = json.loads(path.read_text())
    cell["config"]["optim.b1"] = "0.8"  # the default of another version
    path.write_text(json.dumps(cell))
    assert call("--entries=shared_bottom", "--seeds=1")["rows"]
    assert json.loads(path.read_text())["config"]["optim.b1"] == "0.9"


@pytest.mark.parametrize(
    ("what", "text"),
    [("cells", "{"), ("cells", "[]"), ("cells", '{"config": {}}'), ("tuning", "")],
)
def test_a_damaged_file_is_set_aside_and_computed_anew(
    what, text, call, tmp_path, untrained, capsys
):
    whole = call("--entries=shared_bottom", "--seeds=1")
    (path,) = (tmp_path / "adult" / what).glob("*.json")
    path.write_text(text)
    (tmp_path / "adult" / "ablation.json").write_text(text)
    assert call("--entries=shared_bottom", "--seeds=1")["rows"] == whole["rows"]
    printed = capsys.readouterr().out.replace("\n", "")
    assert f"{path.name} is damaged" in printed
    assert path.with_suffix(".damaged").read_text() == text
    assert ("left out of the report" in printed) == (text in ("{", ""))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=adults"], "Did you mean 'adult'"),
        (["--dataset=adult", "--table=overal"], "Did you mean 'overall'"),
        (["--dataset=adult", "--table=overall", "--seeds=0"], "--seeds=0: expected at least 1"),
        (["--dataset=adult", "--table=overall", "--together=yes"], "unknown --together 'yes'"),
        (["--dataset=adult", "--table=overall", "--set=seed"], "expected KEY=VALUE, got 'seed'"),
        (["--dataset=adult", "--table=overall", "--set=sead=1"], "Did you mean seed"),
        (["--dataset=adult", "--table=overall", "--set=model.experts=mlp"], "set by the protocol"),
        (["--dataset=adult", "--table=overall", "--set=model.dropout=0"], "set by the protocol"),
        (
            ["--dataset=adult", "--table=overall", "--set=evaluate.sample_weights=True"],
            "differences are tested without weights",
        ),
        (["--dataset=adult", "--table=all,overall"], "unknown table 'all'"),
        (["--dataset=adult", "--table=overall", "--entries=ple"], "unknown entry 'ple'"),
    ],
)
def test_bad_arguments_are_named(arguments, message, prepared_dir, tmp_path):
    with pytest.raises(UserError, match=message):
        paper_tables.main([*arguments, f"--data_dir={prepared_dir}", f"--workdir={tmp_path}"])


def test_two_processes_never_do_the_same(prepared_dir, tmp_path):
    """What another one does is left to it, and looked at again when all else is done."""
    work = Work("adult", TINY, tmp_path, tmp_path, {"data.data_dir": str(prepared_dir)}, False)
    done, held = [], threading.Event()

    def job(name):
        def do(label):
            with cells.alone(tmp_path / f"{name}.lock") as alone:
                if alone:
                    done.append(name)
                    if name == "c":
                        held.set()
            return alone

        return do

    rounds = [{"a": job("a"), "b": job("b")}, {"c": job("c")}]
    yielded = []
    with cells.alone(tmp_path / "a.lock") as alone:
        assert alone
        sharing = threading.Thread(
            target=lambda: yielded.extend((*done, problems) for problems in work.share(rounds))
        )
        sharing.start()
        assert held.wait(10)
        assert done == ["b", "c"]  # of the next round too, rather than wait
    sharing.join(10)
    assert yielded == [("b", "c", []), ("b", "c", "a", [])]


def test_it_is_told_how_long_the_jobs_that_are_left_will_take(prepared_dir, tmp_path, monkeypatch):
    work = Work("adult", TINY, tmp_path, tmp_path, {"data.data_dir": str(prepared_dir)}, False)
    monkeypatch.setattr("time.monotonic", functools.partial(next, iter(range(0, 9_000, 120))))
    labels = []
    assert list(work.share([{name: lambda label: not labels.append(label) for name in "abc"}])) == [
        []
    ]
    about = [label.partition("about ")[2] for label in labels]
    assert about == ["", "4 min)", "2 min)"]
    tunings, runs, labels = {"tune a": 0, "tune b": 0}, {"a": 0, "b": 0, "c": 0}, []
    minutes = iter(60 * m for m in (0, 20, 0, 20, 0, 1, 0, 1, 0, 1))
    monkeypatch.setattr("time.monotonic", functools.partial(next, minutes))
    note = lambda label: not labels.append(label)  # noqa: E731
    list(work.share([dict.fromkeys(tunings, note), dict.fromkeys(runs, note)]))
    assert [label.partition("after it ")[2] for label in labels] == [
        "",
        *("more than 20 min)", ""),
        *("about 2 min)", "about 1 min)"),
    ]


WORKER = """
import pathlib, sys, time
from experiments import cells, paper_tables
from tests.test_paper_tables import invented, untuned
log = pathlib.Path(sys.argv[1])

def noted(job):
    def do(*arguments):
        config = next(a for a in arguments if hasattr(a, "model"))
        name = f"{job.__name__} {config.model.architecture} {config.seed}"
        with log.open("a") as out:
            out.write(f"begin {name}\\n")
        time.sleep(0.3)
        return job(*arguments)
    return do

cells.compute, cells.tune = noted(invented), noted(untuned)
paper_tables.table_plots.draw = lambda found, stem: []
paper_tables.main(sys.argv[2:])
"""


@pytest.mark.slow
def test_two_processes_share_a_table_and_a_killed_one_loses_nothing(prepared_dir, tmp_path):
    log, table = tmp_path / "log", tmp_path / "adult" / "overall.json"

    def start():
        given = ["--dataset=adult", "--table=overall", "--seeds=3", "--trials=1"]
        given += [f"--workdir={tmp_path}", f"--data_dir={prepared_dir}"]
        return subprocess.Popen(
            [sys.executable, "-c", WORKER, log, *given],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
        )

    with contextlib.ExitStack() as started:
        victim, other = start(), start()
        for process in (victim, other):
            started.callback(process.wait)
            started.callback(process.kill)
        end = time.monotonic() + 300
        while not log.exists() or len(log.read_text().splitlines()) < 12:
            assert time.monotonic() < end
            assert victim.poll() is other.poll() is None
            time.sleep(0.05)
        victim.kill()
        assert other.wait(300) == 0
    begun = log.read_text().splitlines()
    architectures_ = {
        a["model.architecture"] for a in PROTOCOLS_AS_SHIPPED["adult"].entries.values()
    }
    wanted = {f"begin untuned {a} 0" for a in architectures_}
    wanted |= {f"begin invented {a} {seed}" for a in architectures_ for seed in (1, 2, 3)}
    assert set(begun) == wanted
    assert len(begun) <= len(wanted) + 1  # that of the killed one was begun twice
    found = json.loads(table.read_text())
    assert found["missing"] == {}
    assert len(found["rows"]) == len(architectures_)


FUNNEL = Schema(
    "s", (Field("f", rows=5),), (Task("click"), Task("order", upstream=("click",), space="click"))
)
FLAT = Schema("s", (Field("f", rows=5),), (Task("a"), Task("b"), Task("c")))


def straight(entry):
    """A size that is a straight line in the width."""
    width = entry.settings.get("model.mlp.hidden", (100,))[0]
    slope = 1 + len(entry.tuned_as)
    return Size(1000 + 10 * slope * width, 500 + 7 * slope * width)


def test_tsn_is_left_out_only_where_there_is_one():
    names = [e.name for e in ablation(TINY, FUNNEL, straight)]
    assert "without TSN" in names
    assert set(names) - {e.name for e in ablation(TINY, FLAT, straight)} == {"without TSN"}
    assert names[0] == "dtn"
    assert {"gdcn alone", "masknet alone", "hcnet alone", "mlp alone, as large"} < set(names)


@pytest.mark.parametrize("name", ["ablation", "matched"])
def test_matched_entries_are_as_large(name):
    protocol = PROTOCOLS["census_income"]
    entries = TABLES[name](protocol, FLAT, straight)
    wanted = straight(entries[0])
    sized = [e for e in entries if "as large" in e.name or "equal" in e.name]
    tuned_as = {e.tuned_as for e in sized}
    assert tuned_as == ({"dtn"} if name == "ablation" else set(protocol.entries) - {"dtn"})
    for e in sized:
        step = 10 * (1 + len(e.tuned_as))  # that one more of the width makes
        if "equal FLOPs" not in e.name:
            assert straight(e).parameters == pytest.approx(wanted.parameters, abs=step)
        if name == "matched" and "equal parameters" not in e.name:
            assert straight(e)[1] == pytest.approx(wanted[1], abs=step, rel=NEAR)


def test_where_no_width_gives_both_sizes_there_is_a_row_for_each():
    def size(entry):
        width = entry.settings.get("model.mlp.hidden", (100,))[0]
        return Size(1_000 * width, (900 if entry.tuned_as == "shared_bottom" else 1_000) * width)

    entries = matched(TINY, FLAT, size)
    names = ["dtn", "shared_bottom, equal parameters", "shared_bottom, equal FLOPs"]
    assert [e.name for e in entries] == names
    assert size(entries[1]).parameters == 100_000
    assert size(entries[2]).flops_per_example == pytest.approx(100_000, rel=NEAR)


def test_matched_finds_a_curve_too():
    def bent(entry):
        width = entry.settings.get("model.mlp.hidden", (100,))[0]
        return Size(3 * width**2 + 50 * width, width)

    found = matched(TINY, FLAT, lambda e: bent(e) if e.tuned_as != "dtn" else Size(1_000_000, 1))
    (own,) = [e for e in found if "equal parameters" in e.name]
    assert bent(own).parameters == pytest.approx(1_000_000, rel=0.05)


def test_interactions_compare_routings_of_the_same_experts():
    entries = interactions(PROTOCOLS["census_income"], FLAT, straight)
    assert len(entries) == 20
    for e in entries:
        assert e.against == f"dtn, {'mlp' if e.tuned_as == 'dtn' else e.at}"
        config = cells.configured(PROTOCOLS["census_income"], entry(e.tuned_as, "mlp"), e.settings)
        levels = architectures.layout(config.model, FLAT)
        experts = [kind for level in levels for group in level.values() for kind in group]
        assert experts == [e.at] * 4  # in all groups and levels together


def test_sensitivity_to_an_expert_has_that_expert():
    entries = sensitivity(PROTOCOLS["census_income"], FLAT, straight)
    hcnet = [e for e in entries if e.group == "hcnet.codebook_rows"]
    assert {e.settings["model.experts"] for e in hcnet} == {"masknet+dcnv2+mlp+hcnet"}
    dcnv2 = [e for e in entries if e.group == "dcnv2.layers"]
    assert all("model.experts" not in e.settings for e in dcnv2)


def test_every_protocol_is_one_that_can_be_configured():
    for protocol in PROTOCOLS.values():
        for name, own in protocol.entries.items():
            config = cells.configured(protocol, own, protocol.tuning)
            assert config.model.architecture == name
        for option, values in protocol.sensitivity.items():
            for value in values:
                cells.configured(protocol, {option: value})


def test_the_command_of_a_table_names_no_place():
    given = ["--dataset=adult", "--workdir=/a", "--runs", "/b", "--table=overall", "--data_dir=/c"]
    given += ["--entries=dtn"]  # the table has the others too
    command = paper_tables.remade([*given, "--set=optim.b1=0.8;optim.b2=0.9"])
    assert command == (
        "python -m experiments.paper_tables --dataset=adult --table=overall "
        "'--set=optim.b1=0.8;optim.b2=0.9'"
    )
