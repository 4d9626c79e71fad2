"""Protocols that tune nothing, and those of Ali-CCP."""

import dataclasses

import pytest
from untrained_tables import TINY

from dtn_jax.config import flatten
from dtn_jax.errors import UserError
from experiments.tables import pack, tuning
from experiments.tables.protocol import configured
from experiments.tables.protocol_files import check, load, shipped

pytest_plugins = ["table_fixtures"]


def test_entries_keep_the_settings_of_a_protocol_without_trials(
    call, tmp_path, monkeypatch, untrained
):
    monkeypatch.setattr(tuning, "tune", None)
    found = call(protocol=dataclasses.replace(TINY, trials=0))
    assert [row["seeds"] for row in found["rows"]] == [[1, 2], [1, 2]]
    assert all(name.startswith("cells/") for name in pack.read(tmp_path / "adult"))
    page = (tmp_path / "adult" / "overall.md").read_text()
    assert "nothing is tuned, each entry has those of its protocol" in page
    assert "tuned by" not in page


def test_a_protocol_has_no_fewer_trials_than_none():
    with pytest.raises(UserError, match="trials=-1: expected at least 0"):
        check(dataclasses.replace(TINY, trials=-1))


def test_ali_ccp_is_compared_on_equal_terms():
    protocol = load(shipped()["ali_ccp"])
    configs = [flatten(configured(protocol, own)) for own in protocol.entries.values()]
    for key in ("model.embedding_dim", "optim.tables", "model.dropout", "data.batch_size",
                "loss.positive_weights", "train.epochs", "data.options"):  # fmt: skip
        assert len({config[key] for config in configs}) == 1, key
    assert protocol.trials > 0


def test_the_released_run_is_unequal_and_untuned():
    protocol = load(shipped()["ali_ccp_released"])
    found = {n: flatten(configured(protocol, own)) for n, own in protocol.entries.items()}
    widths = {name: config["model.embedding_dim"] for name, config in found.items()}
    assert widths == {"dtn": 64, "mmoe": 16, "ple": 16, "mmoe_64": 64, "ple_64": 64}
    assert {c["loss.positive_weights"] for c in found.values()} == {"click=200,conversion=3000"}
    assert {c["train.epochs"] for c in found.values()} == {10}
    assert found["dtn"]["model.experts"] == "masknet+hcnet+gdcn"
    assert len(found["dtn"]["model.hcnet.fields"]) == 17
    assert found["mmoe_64"] == found["mmoe"] | {"model.embedding_dim": 64}
    assert found["ple"]["model.group_experts"] == "shared=mlp*2"
    assert all(c["evaluate.threshold_auc"] for c in found.values())
    assert protocol.trials == 0
    assert sum(protocol.full_size.rows.values()) == 85_316_975
