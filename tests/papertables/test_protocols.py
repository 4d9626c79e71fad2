"""Protocols: the shipped ones, a user's own, and what is said of one that cannot be."""

import dataclasses
import json
import pathlib

import optuna
import pytest
from invented_runs import TINY

from dtn_jax.cli import paper_tables
from dtn_jax.config import flatten, load_config
from dtn_jax.errors import UserError
from dtn_jax.options import per_task
from dtn_jax.papertables import protocol as protocol_module
from dtn_jax.papertables.entries import overall
from dtn_jax.papertables.protocol import check, configured, load
from dtn_jax.places import protocols

pytest_plugins = ["table_fixtures"]


MINE = """
from dtn_jax.papertables.protocol import Protocol, entry

PROTOCOL = Protocol(
    config="my_config.py",
    entries={"plain": entry("shared_bottom", "mlp"), "gates, two": entry("mmoe", "mlp*2")},
    ours="plain",
    seeds=2,
)
"""


PLUGIN = pathlib.Path(__file__).parents[1] / "plugin.py"
TASKS = ("click", "long_view", "profile_enter", "comment", "forward", "follow")  # of kuairand


WITH_A_PLUG_IN = """
from dtn_jax.papertables.protocol import Protocol, entry

PROTOCOL = Protocol(
    config="configs/adult.py",
    common={"data.dataset": "shop", "plugins": "plugin.py"},
    entries={
        "dtn": entry("dtn", "mlp"),
        "heads": {"model.heads.count": 3} | entry("heads", "product*2"),
    },
    seeds=2,
)
"""


CONFIG = """
from configs import base


def get_config(argument):
    config = base.get_config()
    config.data.dataset = "synthetic"
    config.data.options = "rows=1000"
    return config
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a protocol and its config into the working directory; returns its file."""
    monkeypatch.chdir(tmp_path)

    def written(text: str) -> pathlib.Path:
        (tmp_path / "my_config.py").write_text(CONFIG)
        path = tmp_path / "shop.py"
        path.write_text(text)
        return path

    return written


def test_a_shipped_protocol_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert configured(load(protocols()["adult"])).data.dataset == "adult"


def test_a_protocol_of_ones_own_makes_tables(write, call, untrained, tmp_path, monkeypatch):
    path = write(MINE)
    call()  # of adult, with what costs nothing
    monkeypatch.setattr(protocol_module, "load", load)
    given = [f"--protocol={path}", "--table=overall", f"--workdir={tmp_path / 'out'}"]
    paper_tables.main([*given, f"--data_dir={tmp_path / 'data'}"])
    found = json.loads((tmp_path / "out" / "shop" / "overall.json").read_text())
    assert found["dataset"] == "synthetic"  # the config's, whatever the file is called
    assert found["ours"] == "plain"
    assert [(r["name"], r["against"]) for r in found["rows"]] == [
        ("plain", "plain"),
        ("gates, two", "plain"),
    ]
    assert 0 <= found["rows"][1]["comparison"]["click@all"]["p"] <= 1
    page = (tmp_path / "out" / "shop" / "overall.md").read_text()
    assert "below or above plain at p < 0.05" in page
    assert "| dtn" not in page.replace("dtn_jax", "")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("PROTOCOL", "PROTOCOLS", r"shop.py sets no PROTOCOL = Protocol"),
        ("seeds=2", "sedes=2", r"shop.py fails, line 4: TypeError: .*unexpected keyword.*'sedes'"),
        ('ours="plain"', 'ours="plane"', r"shop.py: unknown entry 'plane'. Did you mean 'plain'"),
        ("my_config.py", "no.py", r"shop.py: no config file 'no.py'"),
        ('"mlp*2"', '"mlp*2") | {"seed": 1} | dict(', r"entry 'gates, two' sets seed; `common`"),
        ("seeds=2", 'common={"optim.b": 1}', r"shop.py: unknown config key 'optim.b'"),
        ("seeds=2", 'sensitivity={"model.dropout": ("much",)}', r"dropout' expects a number"),
        ("gates, two", "gates/two", r"entry 'gates/two': its name is part of file names"),
    ],
)
def test_what_a_protocol_cannot_be_is_told_with_its_file(old, new, message, write):
    with pytest.raises(UserError, match=message):
        load(write(MINE.replace(old, new, 1)))


def test_a_plug_in_stands_beside_the_packages_own(tmp_path, call, untrained, monkeypatch, unload):
    """Its data set, its routing with an option, its expert and its metric, from one file."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(WITH_A_PLUG_IN)
    (tmp_path / "plugin.py").write_text(PLUGIN.read_text())
    call()
    monkeypatch.setattr(protocol_module, "load", load)
    given = [f"--protocol={path}", "--table=overall", f"--workdir={tmp_path / 'out'}"]
    paper_tables.main([*given, f"--data_dir={tmp_path / 'data'}"])
    found = json.loads((tmp_path / "out" / "mine" / "overall.json").read_text())
    assert found["dataset"] == "shop"
    heads = found["rows"][1]
    assert "p" in heads["comparison"]["click@all"]
    assert heads["config"]["model.heads.count"] == "3"
    assert list(found["rates"]) == ["click@all", "buy@all"]


SAME = ("adult", "census_income", "kuairand", "kuairand_histories", "synthetic")
NARROW = ("census_income", "synthetic")  # whose papers' own DTN has their embeddings of 8


@pytest.mark.parametrize("name", sorted(protocols()))
def test_the_shipped_protocols(name):
    protocol = load(protocols()[name])
    assert protocol.entries
    for entry, own in protocol.entries.items() if name in SAME else ():
        config = configured(protocol, own)
        assert (config.data.dataset, config.model.architecture) == (name, entry.partition(",")[0])


@pytest.mark.parametrize("name", SAME)
def test_the_papers_own_model_is_a_row_of_every_overall_table(name):
    protocol = load(protocols()[name])
    row = configured(protocol, protocol.settings("dtn, paper"))
    size = ",model.embedding_dim=8" if name in NARROW else ""
    assert row == load_config(f"configs/{name}.py:dtn,paper{size}")


def test_a_balancing_protocols_rows_search_their_methods_dial_beside_what_all_do():
    """Static weights are equal or one a task; each row is tested against them on its own model."""
    protocol, studies = load(protocols()["balancing_kuairand"]), optuna.create_study
    asked = {name: protocol.beside[name](studies().ask()) for name in protocol.beside}
    assert {*asked["shared_bottom, cagrad"]} == {"loss.cagrad.c"}
    for chosen, different in (("equal", 1), ("one a task", len(TASKS))):
        study = studies()
        study.enqueue_trial({"weights": chosen})
        given = protocol.beside["mmoe, static"](study.ask())
        config = configured(protocol, protocol.settings("mmoe, static"), given)
        weights = per_task(config.loss.static.task_weights, TASKS, "", 1.0)
        assert len({*weights.values()}) == different
    rows = {row.name: row.against for row in overall(protocol, None, None)}
    assert rows["shared_bottom, upgrad"] == "shared_bottom, static"
    assert rows["single_task"] == ""


def test_a_transfer_needs_finalists():
    with pytest.raises(UserError, match="transfer needs trials and at least 2 finalists"):
        check(dataclasses.replace(TINY, transfer=True, finalists=1))


def test_ali_ccp_is_compared_on_equal_terms():
    protocol = load(protocols()["ali_ccp"])
    configs = [flatten(configured(protocol, own)) for own in protocol.entries.values()]
    for key in ("model.embedding_dim", "optim.tables", "model.dropout", "data.batch_size",
                "loss.positive_weights", "train.epochs", "data.options"):  # fmt: skip
        assert len({config[key] for config in configs}) == 1, key
    assert protocol.trials > 0
