"""A run's model: it says what the run says, and its program can be made anew from it alone; the
card of a model: what it says, and whose names it escapes."""

import dataclasses
import errno
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import yaml
from small_runs import small
from world import log
from world.run import finished, of_log, opened

from dtn_jax.analysis.finished import best_state
from dtn_jax.cli import export
from dtn_jax.comparison.rank_search import find
from dtn_jax.data.epochs.reader import in_order
from dtn_jax.data.schemas.spec import HistorySpec
from dtn_jax.errors import UserError
from dtn_jax.export import encoding, load, model_folder
from dtn_jax.export.model_folder import new_folder
from dtn_jax.export.serve.requests import Contract
from dtn_jax.export.write import example, export_run, make_again
from dtn_jax.export.write.example import example_row
from dtn_jax.export.write.model import spec_of
from dtn_jax.files import sha256
from dtn_jax.report.markdown import escaped
from dtn_jax.run.run import build_run
from dtn_jax.run.train import train

ROOT = pathlib.Path(__file__).parents[2]
ONNX = pathlib.Path(os.environ.get("ONNX_VENV", ".venv-onnx")) / "bin" / "python"
ONNX_RUNTIME = """
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
given = np.load("in.npz")
inputs = {one.name: given[one.name] for one in session.get_inputs()}
np.save("out.npy", session.run(["logits"], inputs)[0])
"""


@pytest.fixture
def batch(prepared_dir):
    """(count) -> so many rows of validation."""
    data = build_run(small(prepared_dir)).data
    return lambda count: next(in_order(data, "validation", count, slice(0, count)))


@pytest.mark.parametrize("size", [3, 1000])
def test_logits_are_those_of_the_run(finished_run, exported_model, prepared_dir, batch, size):
    run, rows = build_run(small(prepared_dir)), batch(size)
    state, _ = best_state(run, finished_run)
    expected = np.asarray(run.score_step(state, rows))
    np.testing.assert_allclose(opened(exported_model).logits(rows), expected, rtol=0, atol=1e-6)


def test_the_row_to_try_is_like_those_of_train(prepared_dir, exported_model):
    """Of every kind of field, and that of a model."""
    frame, data, _ = log.shared(prepared_dir)
    spec = spec_of(data)
    fields = encoding.read(data.folder, spec, data.schema)
    row = example_row(data, fields)
    assert [name for name in fields.columns if name not in row] == ["user", "query"]
    train = log.split_frames(frame)["train"]
    assert row["item"] == train["item"].mode()[0]
    assert row["viewed_action"] in (["look"], ["cart"], ["buy"])
    assert row["speed"] == pytest.approx(train["speed"].mean(), rel=1e-3)
    assert row["price"] == pytest.approx(train["price"].median(), rel=0.3)
    assert re.fullmatch(r"2026-03-0[1-8]T12:00:00Z", row["t"])
    encoded = fields.encode([row | {"user": 1, "query": "q1"}])
    assert not encoded.bad
    assert not fields.counted(encoded)[1].any()
    model = load(exported_model)
    tried = Contract(model).example
    assert (tried["education"], tried["capital-gain"]) == ("HS-grad", 0)
    assert not model.encoding.counted(model.encode([tried]))[1].any()


@pytest.mark.parametrize("people", ["by name", "by history"])
def test_the_row_to_try_shows_no_person(prepared_dir, monkeypatch, people):
    """Of columns called as users' are, of those whose histories are listed, and of their tables."""
    _, data, _ = log.shared(prepared_dir)
    fields = encoding.read(data.folder, spec_of(data), data.schema)
    if people == "by name":
        monkeypatch.setattr(example.names, "user_rank", lambda name: 0 if name == "item" else -1)
    else:
        by_item = HistorySpec(by="item")
        hour = fields.fitted["hour"]
        spec = dataclasses.replace(hour.spec, history=by_item)
        fields.fitted["hour"] = dataclasses.replace(hour, spec=spec)
    row = example_row(data, fields)
    assert not {"item", "seen"} & set(row)  # which share a table
    assert "speed" in row


@pytest.mark.parametrize(
    ("unit", "kind", "noon"),
    [
        ("s", pl.Int64(), 1773144000),
        ("ms", pl.String(), 1773144000000),
        ("yyyymmdd", pl.Int64(), 20260310),
        ("date", pl.Date(), "2026-03-10"),
        ("date", pl.String(), "2026-03-10T12:00:00Z"),
    ],
)
def test_its_time_is_of_the_form_of_the_log(unit, kind, noon):
    assert example._noon([(20521, 3), (20522, 9), (99999, 1)], unit, kind) == noon


def test_the_folder_says_where_nothing_lies(finished_run, exported_model):
    card = (exported_model / "README.md").read_text()
    texts = [path.read_text() for path in exported_model.rglob("*.json")]
    assert len(texts) == 7
    assert not [text for text in (card, *texts) if str(finished_run.parents[1]) in text]
    assert not [*exported_model.rglob("*.values.arrow")]
    measured = json.loads((exported_model / "card/measured.json").read_text())["uncalibrated"]
    results = json.loads((finished_run / "results.json").read_text())
    for split in ("validation", "test"):
        for key, own in results[split].items():
            assert measured[split][key]["logloss"] == pytest.approx(own["logloss"], rel=1e-5)


def test_a_model_is_replaced_only_where_asked_for(finished_run, exported_model, tmp_path, capsys):
    """By paths with `..` in them, which TensorStore refuses."""
    (tmp_path / "here").mkdir()
    out = shutil.copytree(exported_model, tmp_path / "model")
    workdir = finished_run.parent / "none" / ".." / finished_run.name
    given = [f"--workdir={workdir}", f"--out={tmp_path / 'here/../model'}"]
    (out / "old").touch()
    with pytest.raises(UserError, match="--replace"):
        export.main(given)
    assert (out / "old").exists()
    capsys.readouterr()
    export.main([*given, "--replace"])
    assert ".." not in capsys.readouterr().out.replace("...", "")
    assert not (out / "old").exists()
    model_folder.read_manifest(out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["here", "model"]


def test_an_export_that_fails_is_told_and_leaves_nothing(finished_run, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="holds no model"):
        export_run([finished_run], tmp_path, replace=True)
    with pytest.raises(NotADirectoryError, match=r"notes.txt"):
        export_run([finished_run], tmp_path / "notes.txt/model")
    monkeypatch.setattr("dtn_jax.export.write.program.quantised", full)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}'"):
        export_run([finished_run], tmp_path / "model", tables="int8")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_one_export_at_a_time_writes_a_folder(tmp_path):
    """And what a process has left that was killed is no part of the next one's folder."""
    out = tmp_path / "model"
    (tmp_path / ".model.tmp/card").mkdir(parents=True)
    (tmp_path / ".model.tmp/weights").touch()
    with new_folder(out, replace=False) as folder:
        assert [path.name for path in folder.iterdir()] == [model_folder.LOCK]
        (folder / model_folder.MANIFEST).write_text("first")
        with (
            pytest.raises(UserError, match="another export writes"),
            new_folder(out, replace=False),
        ):
            raise AssertionError
        assert not out.exists()
    assert (out / model_folder.MANIFEST).read_text() == "first"
    with pytest.raises(ZeroDivisionError), new_folder(out, replace=True) as folder:
        (folder / model_folder.MANIFEST).write_text("second")
        raise ZeroDivisionError
    assert (out / model_folder.MANIFEST).read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--again=MODEL", "--tables=int8"], "--tables goes with --workdir, not with --again"),
        (["--onnx=MODEL"], "--out is missing"),
        (
            ["--workdir=a", "--out=b", "--batch_size=64"],
            "--batch_size goes with --onnx, not",
        ),
        (["--workdir=RUN", "--out=b", "--tasks=income,clicks"], "unknown task 'clicks'"),
        (["--workdir=RUN", "--out=b", "--select=clicks"], "unknown value of --select 'clicks'"),
    ],
)
def test_options_that_mean_nothing_are_refused(finished_run, exported_model, given, told):
    places = {"MODEL": str(exported_model), "RUN": str(finished_run)}
    words = [re.sub("MODEL|RUN", lambda found: places[found[0]], word) for word in given]
    with pytest.raises(UserError, match=told):
        export.main(words)


# ---------------------------------------------------------------- made anew


@pytest.fixture
def copy(exported_model, tmp_path):
    return shutil.copytree(exported_model, tmp_path / "model")


def edited(folder, name, edit):
    """Changes a JSON file of a folder, and the manifest with it."""
    path = folder / name
    found = json.loads(path.read_text())
    edit(found)
    path.write_text(json.dumps(found))
    if name != model_folder.MANIFEST:
        told = json.loads((folder / model_folder.MANIFEST).read_text())
        del told["format"], told["files"]
        model_folder.write_manifest(folder, told)


def test_made_anew_scores_are_the_same_and_all_else_stays(copy, batch, capsys):
    rows = batch(64)
    before, logits = model_folder.read_manifest(copy), opened(copy).logits(rows)
    edited(copy, model_folder.MANIFEST, lambda told: told["program"].update(made="2020-01-01"))
    (copy / model_folder.PROGRAM).write_bytes(b"too old to be read")
    edited(copy, model_folder.MODEL, lambda told: None)
    old = model_folder.model_id(copy)
    export.main([f"--again={copy}"])
    after = model_folder.read_manifest(copy)
    said = capsys.readouterr().out
    assert f"is {model_folder.model_id(copy)}, it was {old}" in " ".join(said.split())
    np.testing.assert_array_equal(opened(copy).logits(rows), logits)
    assert after["program"]["made"] > "2026"
    for key in ("made", "data", "plugins"):
        assert after[key] == before[key]
    changed = {n for n in before["files"] if before["files"][n] != after["files"][n]}
    assert changed <= {model_folder.PROGRAM, model_folder.MODEL}
    assert [p.name for p in copy.parent.iterdir()] == ["model"]


def test_what_a_folder_names_is_not_run(copy, write_plugin, tmp_path):
    """A plug-in's code is run only where it is given, and is the one of the manifest."""
    ran = tmp_path / "ran"
    code = f"import pathlib\npathlib.Path({str(ran)!r}).touch()\nEXPERTS = {{}}\n"
    path = write_plugin(code)
    sha = sha256(path)

    def name(told):
        told["plugins"] = [{"name": str(path), "sha256": sha}]

    edited(copy, model_folder.MANIFEST, name)
    edited(copy, model_folder.MODEL, lambda told: told["config"].update(plugins=f"{path}#{sha}"))
    with pytest.raises(UserError, match="--plugins=FILE"):
        make_again(copy)
    path.write_text(code + "# changed")
    with pytest.raises(UserError, match=f"by SHA-256 .* with {sha[:12]}; got "):
        make_again(copy, str(path))
    edited(copy, model_folder.MANIFEST, lambda told: told.update(plugins=[]))
    with pytest.raises(UserError, match="by SHA-256 none; got"):
        make_again(copy, str(path))
    assert not ran.exists()
    edited(copy, model_folder.MODEL, lambda told: told["config"].update(plugins=""))
    make_again(copy)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("name", "edit", "told"),
    [
        (
            model_folder.MODEL,
            lambda told: told["config"].update({"model.expert_dim": 9}),
            "another model than the one that was trained",
        ),
        (model_folder.MODEL, lambda told: told["config"].update({"model.red": 1}), "model.red"),
        (model_folder.MODEL, lambda told: told.pop("rows"), "damaged"),
        (
            model_folder.MODEL,
            lambda told: told.update(rows=told["rows"] + 1),
            "not those of its config",
        ),
        (model_folder.MODEL, lambda told: told.update(config=["model.architecture"]), "damaged"),
        (model_folder.MANIFEST, lambda told: told.update(plugins=5), "damaged"),
        (model_folder.MANIFEST, lambda told: told.update(plugins=[{"name": "a.py"}]), "damaged"),
    ],
)
def test_a_folder_of_another_model_is_told(copy, name, edit, told):
    before = (copy / model_folder.PROGRAM).read_bytes()
    edited(copy, name, edit)
    with pytest.raises(UserError, match=told):
        make_again(copy)
    assert (copy / model_folder.PROGRAM).read_bytes() == before
    assert [p.name for p in copy.parent.iterdir()] == ["model"]


# ---------------------------------------------------------------- members, states, tables


@pytest.fixture(scope="module")
def other_seed(prepared_dir, tmp_path_factory):
    """A run whose best state for `never_married` is another than the one it reports."""
    return finished(prepared_dir, tmp_path_factory.mktemp("other") / "run", seed=2)


def card_numbers(model):
    """Dense parameters and embedding parameters, as a card has them."""
    text = (model / "README.md").read_text()
    names = ("dense parameters", "embedding parameters")
    found = (re.search(rf"\| {name} \| ([\d,]+)", text)[1] for name in names)
    return [int(number.replace(",", "")) for number in found]


@pytest.mark.slow
def test_runs_of_two_seeds_become_their_mean(finished_run, other_seed, batch, tmp_path):
    out, rows = tmp_path / "model", batch(100)
    (tmp_path / "replicas").mkdir()
    for i, workdir in enumerate((finished_run, other_seed)):
        (tmp_path / f"replicas/replica_{i}").symlink_to(workdir)
    export.main([f"--workdir={tmp_path / 'replicas'}", f"--out={out}"])
    probabilities = []
    for workdir in (finished_run, other_seed):
        alone = opened(export_run([workdir], tmp_path / workdir.parent.name)).logits(rows)
        probabilities.append(1 / (1 + np.exp(-alone.astype(np.float64))))
    mean = np.mean(probabilities, axis=0)
    sizes = [card_numbers(folder) for folder in (tmp_path / finished_run.parent.name, out)]
    assert sizes[1] == [2 * number for number in sizes[0]]
    logits = opened(out).logits(rows)
    np.testing.assert_allclose(logits, np.log(mean) - np.log1p(-mean), rtol=0, atol=1e-5)
    assert model_folder.read_facts(out).members == (
        {"seed": 0, "step": 45, "selected_by": "mean"},
        {"seed": 2, "step": 45, "selected_by": "mean"},
    )
    make_again(out)
    np.testing.assert_array_equal(opened(out).logits(rows), logits)


@pytest.mark.slow
def test_the_best_state_for_a_task(other_seed, prepared_dir, batch, tmp_path):
    steps = json.loads((other_seed / "results.json").read_text())["best_steps"]
    assert steps["mean"] != steps["never_married"]
    given = [f"--workdir={other_seed}", f"--out={tmp_path / 'model'}"]
    export.main([*given, "--select=never_married"])
    found = opened(tmp_path / "model")
    chosen = {"seed": 2, "step": steps["never_married"], "selected_by": "never_married"}
    assert found.facts.members == (chosen,)
    card = (tmp_path / "model/README.md").read_text()
    assert "| state | the best state on validation for never_married |" in card
    run = build_run(small(prepared_dir, seed=2))
    state, step = best_state(run, other_seed)
    assert step == steps["mean"]
    rows = batch(100)
    reported = np.asarray(run.score_step(state, rows))
    assert np.abs(found.logits(rows) - reported).max() > 1e-3


@pytest.mark.slow
def test_a_narrow_model_of_one_task(finished_run, exported_model, batch, tmp_path):
    out = tmp_path / "model"
    given = [f"--workdir={finished_run}", f"--out={out}"]
    export.main([*given, "--tables=int8", "--tasks=income"])
    results = json.loads((finished_run / "results.json").read_text())
    measured = json.loads((out / "card/measured.json").read_text())["uncalibrated"]["validation"]
    assert set(measured) == {"income@all"}
    exact = results["validation"]["income@all"]["logloss"]
    assert 0 < abs(measured["income@all"]["logloss"] - exact) < 0.01
    assert opened(out).facts.tasks == ("income",)
    assert card_numbers(exported_model)[0] == results["parameters"]
    whole, rows = opened(exported_model), batch(100)
    np.testing.assert_allclose(opened(out).logits(rows), whole.logits(rows)[:, :1], atol=0.05)
    sizes = [(folder / "weights.safetensors").stat().st_size for folder in (out, exported_model)]
    assert sizes[0] < sizes[1]


def test_runs_that_are_no_seeds_of_one_config_are_refused(finished_run, tmp_path):
    other = tmp_path / "run"
    other.mkdir()
    for name in ("config.json", "results.json", "metrics.jsonl"):
        shutil.copy(finished_run / name, other / name)
    facts = json.loads((other / "config.json").read_text())
    facts["config"]["seed"], facts["config"]["train"]["max_steps"] = 3, 44
    (other / "config.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match="differ in train"):
        export_run([finished_run, other], tmp_path / "model")
    assert not (tmp_path / "model").exists()


# ---------------------------------------------------------------- ONNX


@pytest.mark.slow
@pytest.mark.skipif(not ONNX.exists(), reason="no jax2onnx: make onnx, or set ONNX_VENV")
def test_onnx_runtime_gives_the_programs_logits(exported_model, batch, tmp_path):
    rows = batch(200)
    own = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    given = [f"--onnx={exported_model}", "--out=model.onnx"]
    np.savez(tmp_path / "in.npz", **opened(exported_model).inputs(rows))
    calls = [["-m", "experiments.export", *given], ["-c", ONNX_RUNTIME]]
    calls += [[*calls[0], "--batch_size=200"], calls[1]]
    for number, call in enumerate(calls):
        done = subprocess.run(
            [ONNX.absolute(), *call],
            cwd=tmp_path,
            env=own | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        if call[0] == "-m":
            assert ("200 rows: pad" if number else "batches have any size") in done.stdout
        else:
            expected = opened(exported_model).logits(rows)
            np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=0, atol=1e-5)


# ---------------------------------------------------------------- MLflow


LOADED = """
import mlflow.pyfunc, pandas
model = mlflow.pyfunc.load_model("out")
model.predict(pandas.read_parquet("rows.parquet")).to_parquet("scores.parquet")
"""


@pytest.mark.slow
def test_mlflow_loads_a_folder_by_the_example(exported_model, tmp_path):
    pytest.importorskip("mlflow")
    pytest.importorskip("pandas")
    example = ROOT / "docs/examples/mlflow_model.py"
    assert len(example.read_text().splitlines()) <= 25
    model = load(exported_model)
    rows = pl.DataFrame([dict.fromkeys(model.columns, value) for value in (None, "7")])
    rows.write_parquet(tmp_path / "rows.parquet")
    for call in ([example, exported_model, "out"], ["-c", LOADED]):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, *call], cwd=tmp_path, env=environment, check=True)
    got = pl.read_parquet(tmp_path / "scores.parquet")
    assert got.equals(model.score(rows))


# ---------------------------------------------------------------- the card


HOSTILE = "<script>x</script>|`![a](http://b.c)"
SCHEMA = f"""
name: shop
fields:
  {json.dumps(HOSTILE)}: {{column: item}}
  position: {{scored_as: 1}}
  page: {{scored_as: null, optional: true}}
  price: {{kind: numeric, encoder: standardise}}
tasks:
  click:
  order: {{space: click, also_report: [all]}}
  watch: {{kind: regression, known: click == 1}}
group: user
time: t
"""
ROWS = 4000


def positioned():
    """Clicks depend on the item and, much, on the position."""
    rng = np.random.default_rng(0)
    item, position = rng.integers(0, 20, ROWS), rng.integers(1, 6, ROWS)
    click = rng.random(ROWS) < 1 / (1 + np.exp(0.1 * item - 1.5 + 0.5 * position))
    day = np.datetime64("2026-03-01") + np.arange(ROWS) * 10 // ROWS
    columns = {"user": rng.integers(0, 300, ROWS), "item": item, "position": position, "t": day}
    columns |= {"price": rng.normal(size=ROWS), "click": click.astype(int)}
    columns |= {"order": (click & (rng.random(ROWS) < 0.5)).astype(int), "watch": rng.random(ROWS)}
    return pl.DataFrame(columns)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    log.prepared(folder, positioned(), SCHEMA)
    rates = {"optim__learning_rate": 0.02, "optim__table_learning_rate": 0.02}
    train(
        of_log(folder, data__batch_size=200, train__max_steps=60, seed=1, **rates), folder / "run"
    )
    return folder, export_run([folder / "run"], folder / "model", say=lambda told: None)


@pytest.mark.slow
def test_a_card_tells_all_that_a_user_must_know(exported):
    folder, model = exported
    text = (model / "README.md").read_text()
    results = json.loads((folder / "run/results.json").read_text())["test"]
    found = json.loads((model / "card/measured.json").read_text())
    for key, metrics in results.items():  # the exported program's scores are the run's
        own = found["uncalibrated"]["test"][key]
        for name in ("auc", "gauc", "logloss", "rmse"):
            assert own.get(name) == pytest.approx(metrics.get(name), abs=1e-5)
    for told in (
        "# shared_bottom on shop",
        "- click: ",
        "| position | categorical | position | 6 | scored as 1 |",
        "scored as the unknown id",
        "| order | binary | probability | click | all |",
        "| watch | regression | the label's mean | all |",
        "GAUC is the AUC within each user",
        "as if position were 1",
        "only if the task happens nowhere outside of that space",
    ):
        assert told in text, told
    head, _, _ = text.removeprefix("---\n").partition("\n---\n")
    head = yaml.safe_load(head)
    assert head["library_name"] == "dtn_jax"
    assert head["license"] == "unknown"
    assert {"jax", "ranking", "shared_bottom"} <= set(head["tags"])
    (index,) = head["model-index"]
    kinds = [(own["task"]["name"], own["task"]["type"]) for own in index["results"]]
    names = ("click@all", "order@click", "order@all")
    regression = ("watch@all", "tabular-regression")
    assert kinds == [*((name, "tabular-classification") for name in names), regression]
    for own in index["results"]:
        assert own["dataset"] == {"type": "shop", "name": "shop", "split": "test"}
        measured = found["calibrated"]["test"][own["task"]["name"]]
        for metric in own["metrics"]:
            assert metric["value"] == pytest.approx(measured[metric["type"]], abs=1e-6)
    assert "<script>" not in text
    assert escaped(HOSTILE).replace("|", r"\|") in text
    assert "![a](" not in text
    files = set(load(model).manifest["files"])
    assert not {"README.md", "card/measured.json"} & files  # a card may be edited


@pytest.mark.slow
def test_a_ranking_score_is_found_exported_and_measured(exported):
    """The card's metrics are those that `rank` told of test, since both calibrate alike."""
    folder, model = exported
    told = find(folder / "run", "click + 5*order", "ndcg_at_10")
    option = str(folder / "run/rank.json")
    ranked = export_run([folder / "run"], folder / "ranked", rank=option, say=lambda told: None)
    text = (ranked / "README.md").read_text()
    assert "## Ranking score on test, as logged" in text
    assert escaped(told["expression"]).replace("|", r"\|") in text
    measured = json.loads((ranked / "card/measured.json").read_text())["rank"]
    assert measured["expression"] == told["expression"] == load(ranked).ranking.text
    for line in told["test"]:
        value = measured["test"][line["of"]][line["metric"]]
        assert value == pytest.approx(line["found"], abs=1e-5)
    assert {"click", "order", "watch", "click + 5*order"} == set(measured["test"])
    assert "rank" not in load(model).outputs
    for option, message in {
        "log(click - 2)": r"not finite in 400 of 400 rows of validation: bound what it reads",
        "clik": "Did you mean 'click'",
    }.items():
        with pytest.raises(UserError, match=message):
            export_run([folder / "run"], folder / "no", rank=option, say=lambda told: None)
