"""Faults at random: commands killed, starved of disk, called twice at once; files damaged.

What comes out must be an undisturbed call's, bit by bit but for speeds, or an error that names the
fault. FAULTS=50 injects ten times as many. FAULTS_OUT=FOLDER writes faults.json, the table of
docs/limits.md, if none was lost or wrong: FAULTS=10 FAULTS_OUT=experiments/results/benchmark.
"""

import collections
import contextlib
import csv
import hashlib
import io
import json
import logging
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import jax
import numpy as np
import polars as pl
import pytest

import dtn_jax.data.sets
from dtn_jax import export
from dtn_jax.analysis.finished import read_config
from dtn_jax.config import base_config
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.sets import catalog
from dtn_jax.errors import UserError
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.run import build_run
from dtn_jax.run.train import train
from experiments import benchmark
from experiments.benchmarks.measured import Measured

pytestmark = pytest.mark.nightly
TIMES = int(os.environ.get("FAULTS", 5))  # of each kind of fault in each place
SEED = os.environ.get("FAULTS_SEED", "0")
ENDS = ("survived", "named", "lost", "wrong")
SECONDS = 900.0  # of a call; longer is a hang
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
STOPPED = {-signal.SIGKILL, -signal.SIGTERM, 143, -signal.SIGINT, 130}
KILOBYTES = (8, 60, 200, 400, 800, 1600, 3200)  # of disks that get full at various moments
ROOM = "256m"
SPEEDS = ("examples_per_second", "train_seconds", "seconds")
SMALL = (
    "--config=configs/adult.py:shared_bottom,quick",
    "--config.model.experts=mlp",
    "--config.model.expert_dim=8",
    "--config.train.max_steps=40",
    "--config.train.eval_every=20",
    "--config.train.checkpoint_every=7",
    "--config.parallel.devices=1",
)
ADULT = pathlib.Path(dtn_jax.data.sets.__file__).parent / "adult.parquet"
ROWS = "rows=200000"


@pytest.fixture(scope="module")
def tally(request):
    """{(fault, where): {how it ended: how many times}}."""
    counts, start = collections.defaultdict(collections.Counter), time.monotonic()
    yield counts
    if "FAULTS_OUT" in os.environ and not request.session.testsfailed:
        rows = []
        for (fault, where), ended in counts.items():
            row = {"fault": fault, "where": where, "injected": ended.total()}
            rows.append(row | {word: ended[word] for word in ENDS})
        measured = Measured("Faults, and how they ended", rows)
        folder, seconds = pathlib.Path(os.environ["FAULTS_OUT"]), time.monotonic() - start
        path = benchmark.write(folder, "faults", measured, seconds)
        facts = json.loads(path.read_text()) | {"command": f"FAULTS={TIMES} make test-faults"}
        path.write_text(json.dumps(facts, indent=1) + "\n")


@dataclass(frozen=True)
class Work:
    """A command's words for a folder of its own, and what it finds there: {what: its content}."""

    words: Callable[[pathlib.Path], Sequence[str]]
    found: Callable[[pathlib.Path], Mapping[str, object]]


def plain(value):
    """Without speeds."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k not in SPEEDS}
    return value


def digest(tree) -> str:
    """Of all numbers and texts of a pytree; of a file's bytes."""
    if isinstance(tree, pathlib.Path):
        return hashlib.sha256(tree.read_bytes()).hexdigest()
    made = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        made.update(leaf.encode() if isinstance(leaf, str) else np.asarray(leaf).tobytes())
    return made.hexdigest()


def of_run(folder):
    """Results and predictions of the runs in a folder; a trial's number may be another."""
    found: dict[str, list] = {}
    for path in sorted(folder.rglob("results.json")):
        found.setdefault(name_of(folder, path), []).append(plain(json.loads(path.read_text())))
    for path in sorted(folder.rglob("predictions.parquet")):
        found.setdefault(name_of(folder, path), []).append(digest(path))
    for path in sorted(folder.rglob("overall.csv")):
        found[path.name] = [plain(row) for row in csv.DictReader(path.read_text().splitlines())]
    return found


def name_of(folder, path):
    return re.sub(r"trial_\d+", "trial", str(path.relative_to(folder)))


def of_sweep(folder):
    """The winner: the value of its setting."""
    found = json.loads((folder / "sweep.json").read_text())
    return {"winner": (found["value"], found["settings"])}


def of_set(prepared):
    """The bytes of records may differ from process to process, though all rows are the same."""
    splits = {s: digest(SplitReader(prepared, s).everything()) for s in prepared.rows}
    return {"fingerprint": prepared.fingerprint, **splits}


def of_model(folder):
    """A model folder's files but its manifest and card, which tell when it was made."""
    paths = {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file()}
    told = ("manifest", "card", "README")
    return {name: digest(path) for name, path in paths.items() if not name.startswith(told)}


def of_scores(folder):
    return {"scores": digest(pl.read_parquet(folder / "scores.parquet").to_dict(as_series=False))}


@pytest.fixture(scope="module")
def works(prepared_dir, finished_run, exported_model, tmp_path_factory):
    data = f"--config.data.data_dir={prepared_dir}"
    raw = tmp_path_factory.mktemp("raw") / "rows.parquet"
    pl.concat([pl.read_parquet(ADULT)] * 8).write_parquet(raw)

    def placed(where):
        return [*SMALL, data, f"--config.data.placement={where}"]

    def tables(folder):
        few = ["--dataset=adult", "--table=overall", "--seeds=2", "--trials=1"]
        few += ["--entries=shared_bottom", "--quick"]
        return ["paper_tables", *few, f"--data_dir={prepared_dir}", f"--workdir={folder}"]

    grid = "--grid=optim.learning_rate=1e-3,3e-3"
    return {
        "train, device": Work(lambda f: ["train", *placed("device"), f"--workdir={f}"], of_run),
        "train, stream": Work(lambda f: ["train", *placed("stream"), f"--workdir={f}"], of_run),
        "sweep": Work(lambda f: ["sweep", *placed("device"), grid, f"--workdir={f}"], of_sweep),
        "paper_tables": Work(tables, of_run),
        "prepare": Work(
            lambda f: ["prepare", "--dataset=synthetic", f"--options={ROWS}", f"--data_dir={f}"],
            lambda f: of_set(catalog.load("synthetic", ROWS, str(f))),
        ),
        "export": Work(
            lambda f: ["export", f"--workdir={finished_run}", f"--out={f}", "--replace"], of_model
        ),
        "score": Work(
            lambda f: [
                *("score", f"--model={exported_model}", f"--input={raw}"),
                *(
                    f"--output={f / 'scores.parquet'}",
                    "--replace",
                ),  # as one killed at its end left it
            ],
            of_scores,
        ),
    }


WORKS = ("train, device", "train, stream", "sweep", "paper_tables", "prepare", "export", "score")
each = pytest.mark.parametrize("name", WORKS)


class Calls:
    """Calls of `dtn-jax` on a work's folders, and what they say."""

    def __init__(self, programs, work, place):
        self.program, self.work, self.place = programs / "dtn-jax", work, place
        self.environment = os.environ | {"PYTHONPATH": str(pathlib.Path.cwd())}

    def start(self, folder: pathlib.Path, log: str) -> subprocess.Popen:
        with (self.place / log).open("a") as out:
            words = [str(self.program), *self.work.words(folder)]
            return subprocess.Popen(words, stdout=out, stderr=out, env=self.environment)

    def run(self, folder: pathlib.Path, log: str = "log") -> int:
        return self.start(folder, log).wait(SECONDS)

    def said(self, log: str = "log") -> str:
        return (self.place / log).read_text(errors="replace")[-2000:]

    def uncut(self) -> tuple[Mapping[str, object], float]:
        """What a call finds that nothing disturbs, and its seconds; the first one compiles."""
        for name in ("first", "uncut"):
            start = time.monotonic()
            assert self.run(self.place / name) == 0, self.said()
            seconds = time.monotonic() - start
        found = [self.work.found(self.place / name) for name in ("first", "uncut")]
        assert found[0] == found[1]
        return found[0], seconds


@pytest.fixture
def calls(programs, works, tmp_path, name):
    return Calls(programs, works[name], tmp_path)


@each
def test_a_killed_command_finds_what_an_uncut_one_does(calls, name, tmp_path, tally):
    """Moments are uniform over the seconds of an uncut call; what was done is not done again."""
    expected, seconds = calls.uncut()
    draw, hits, rounds = random.Random(f"{name} {SEED}"), 0, 0
    for _ in range(30 * TIMES):
        if hits == TIMES:
            break
        folder = tmp_path / f"killed{rounds}"
        process = calls.start(folder, "log")
        try:
            code = process.wait(draw.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            process.send_signal(SIGNALS[hits % len(SIGNALS)])
            code = process.wait(SECONDS)
            hits += 1
            time.sleep(0.3)  # what it was forked for ends, too
        if code == 0:  # it ended first
            assert calls.work.found(folder) == expected
            rounds += 1
        else:
            assert code in STOPPED, calls.said()
    assert hits == TIMES
    folder = tmp_path / f"killed{rounds}"
    assert calls.run(folder) == 0, calls.said()
    assert calls.work.found(folder) == expected
    tally["killed (SIGKILL, SIGTERM, SIGINT)", name]["survived"] += hits


@pytest.mark.parametrize("name", ["train, device", "prepare"])
def test_two_calls_at_once(calls, name, tmp_path, tally):
    """Both find what one finds alone; one of them may say that the other is at work."""
    expected, _ = calls.uncut()
    for number in range(TIMES):
        folder = tmp_path / f"shared{number}"
        logs = [f"shared{number}-{i}" for i in range(2)]
        codes = [process.wait(SECONDS) for process in [calls.start(folder, log) for log in logs]]
        said = "".join(map(calls.said, logs))
        assert 0 in codes, said
        assert set(codes) <= {0, 2}, said
        assert "Traceback" not in said
        assert calls.work.found(folder) == expected
        tally["two at once", name]["named" if any(codes) else "survived"] += 1


@pytest.mark.skipif(
    os.geteuid() or not shutil.which("mount"), reason="a disk of its own needs root and mount(8)"
)
@each
def test_a_full_disk_is_named_and_then_gone_on_with(calls, name, tmp_path, tally):
    expected, _ = calls.uncut()
    disks = [f"size={size}k" for size in KILOBYTES[:: max(1, 7 // TIMES)]] + [f"size={ROOM},ro"]
    for number, options in enumerate(disks):
        place, log = tmp_path / f"disk{number}", f"disk{number}.log"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        subprocess.run(command, check=True)
        try:
            code = calls.run(place / "folder", log)
            said = calls.said(log)
            subprocess.run(["mount", "-o", f"remount,rw,size={ROOM}", str(place)], check=True)
            if code:  # else there was room enough
                assert code == 2, said
                assert "Traceback" not in said
                assert said.strip()
                assert calls.run(place / "folder", log) == 0, calls.said(log)
                assert calls.work.found(place / "folder") == expected
                tally["read-only disk" if "ro" in options else "full disk", name]["named"] += 1
        finally:
            subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture(scope="module")
def kinds(prepared_dir, finished_run, exported_model):
    """{kind of files: (their folder, which of its files are damaged, what is read of a copy)}.

    What may be answered: all that is read of the original, in a list.
    """
    config = read_config(finished_run, base_config(), "")
    run = build_run(config)
    whole = finished_run / "checkpoints"
    own = ("results.json", "config.json", "schema.json", "metrics.jsonl", "predictions.parquet")

    def of_finished(copy):
        return plain(train(read_config(finished_run, base_config(), ""), copy))

    def of_last(copy):
        with contextlib.closing(Checkpoints(copy, run.plan)) as checkpoints:
            state = checkpoints.restore(run.state_places)[0]
        return int(state.step), digest(state.replace(key=None))

    def lasts():
        for folder in (whole / "last").iterdir():
            with contextlib.closing(Checkpoints(finished_run, run.plan)) as checkpoints:
                state = checkpoints.read_last(int(folder.name), run.state_places)[0]
            yield int(state.step), digest(state.replace(key=None))

    def of_best(copy):
        with contextlib.closing(Checkpoints(copy, run.plan)) as checkpoints:
            steps = sorted(checkpoints.best.all_steps())
            states = [checkpoints.restore_best(step, run.unfilled_state()) for step in steps]
        return [digest(state.replace(key=None)) for state in states]

    def of_data(copy):
        return of_set(catalog.load("adult", "", str(copy)))

    def of_exported(copy):
        rows = pl.read_parquet(ADULT).head(64)
        return digest(export.load(copy).score(rows).to_dict(as_series=False))

    data = pathlib.Path(prepared_dir)
    return {
        "finished run": (finished_run, lambda p: p.parts[0] in own, of_finished, ()),
        "last checkpoints": (finished_run, lambda p: "last" in p.parts, of_last, list(lasts())),
        "best states": (finished_run, lambda p: "best" in p.parts, of_best, ([],)),
        "prepared set": (
            data,
            lambda p: p.parts[0] == "adult" and p.suffix != ".lock",
            of_data,
            (),
        ),
        "model": (exported_model, lambda p: True, of_exported, ()),
    }


WAYS = {"flip": "with a bit flipped", "cut": "cut short", "delete": "deleted"}
KINDS = ("finished run", "last checkpoints", "best states", "prepared set", "model")


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_changes_no_number_in_silence(kinds, kind, tmp_path, tally):
    """A bit flipped, a part cut off, or the file deleted: each file is drawn alike."""
    folder, holds, read, others = kinds[kind]
    paths = [p.relative_to(folder) for p in sorted(folder.rglob("*")) if p.is_file()]
    paths = [p for p in paths if holds(p)]
    copy, draw = tmp_path / "copy", random.Random(f"{kind} {SEED}")

    def again():
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy, symlinks=True)

    again()
    answers = [quietly(read, copy), *others]
    for number in range(TIMES * len(paths) // 3):
        again()
        path, way = draw.choice(paths), [*WAYS][number % 3]
        damage(copy / path, way, draw)
        try:
            fine, ended = quietly(read, copy) in answers, "survived"
        except UserError as error:
            fine, ended = len(str(error)) > 20 and "\n  File" not in str(error), "named"
        assert fine, (way, path)
        tally[f"a file {WAYS[way]}", kind][ended] += 1


def damage(path, way, draw):
    held = bytearray(path.read_bytes())
    if way == "delete" or not held:
        path.unlink()
    elif way == "flip":
        held[draw.randrange(len(held))] ^= 1 << draw.randrange(8)
        path.write_bytes(held)
    else:
        path.write_bytes(held[: draw.randrange(len(held))])


def quietly(read, copy):
    """What is read; what that prints and logs is not shown."""
    said, before = io.StringIO(), logging.root.manager.disable
    logging.disable()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return read(copy)
    finally:
        logging.disable(before)
