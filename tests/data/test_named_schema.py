"""A run on logs belongs to what its schema file means, not to where that file lies."""

import pathlib
import shutil

import pytest
from world.log import SCHEMA, schema_file, shared

from dtn_jax.config import differing, identity, load_config, override
from dtn_jax.data.schemas import named_schema
from dtn_jax.data.sets import catalog
from dtn_jax.errors import UserError
from dtn_jax.run.run import build_run

OTHER = SCHEMA.replace("max_values: 3", "max_values: 2")


def config(path, more=""):
    return load_config(f"configs/logs.py:dtn,schema={path}{more}")


@pytest.fixture(scope="module")
def shop(prepared_dir):
    return shared(prepared_dir)[1:]


def test_the_place_comments_and_order_of_keys_do_not_count(tmp_path, monkeypatch):
    first = config(schema_file(tmp_path / "a"))
    changed = SCHEMA.replace("time: t\n", "").replace("group: user", "time: t  # when\ngroup: user")
    second = config(schema_file(tmp_path / "b", changed, "renamed.yaml"))
    monkeypatch.chdir(tmp_path / "a")
    third = config("shop.yaml")
    assert first.data.options == third.data.options  # absolute
    assert first.data.options.startswith(f"schema={tmp_path}/a/shop.yaml#")
    assert second.data.options != first.data.options
    assert identity(first) == identity(second)
    assert not differing(identity(identity(first)), identity(second))  # as cells keep it
    other = config(schema_file(tmp_path / "c", OTHER))
    assert differing(identity(first), identity(other)) == ["data.options"]


@pytest.mark.parametrize("name", ["my shop.yaml", "a=b#c.yaml"])
def test_odd_paths(name, tmp_path, shop):
    path = schema_file(tmp_path, name=name)
    found = config(path, ",quick")
    assert found.model.embedding_dim == 8
    builder = catalog.make_builder("logs", found.data.options, str(shop[1] / "data"), "")
    assert builder.path == path
    assert pathlib.Path(builder.data_dir) == shop[0].folder
    usual = config(schema_file(tmp_path / "usual"))
    assert identity(found)["data.options"] == identity(usual)["data.options"]


def test_paths_that_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a,b.yaml", "shop.yaml"):
        schema_file(tmp_path, name=name)
    with pytest.raises(UserError, match=r"no schema file 'a'; did you mean a,b.yaml"):
        config("a,b.yaml", ",quick")
    with pytest.raises(UserError, match=r"no schema file 'shp.yaml'; did you mean shop.yaml"):
        config("shp.yaml", ",quick")
    odd = schema_file(tmp_path, name="it's.yaml")
    with pytest.raises(UserError, match=r"path cannot have one of .*: .*/it's\.yaml"):
        named_schema.with_meaning(f"schema={odd}")


def test_a_schema_file_given_as_an_option_has_its_meaning_too(tmp_path):
    path = schema_file(tmp_path)
    assert not config("").data.options
    found = load_config("configs/logs.py:dtn")
    assert not found.data.options
    with pytest.raises(UserError, match=r"needs its schema file: --config=configs/logs.py:dtn,sch"):
        catalog.make_builder("logs", found.data.options, "", "")
    override(found, "data.options", f"schema={path}")
    assert found.data.options == config(path).data.options
    before = found.data.options
    override(found, "data.options", before)
    assert found.data.options == before


def test_a_changed_or_deleted_file_leaves_the_run_its_set(tmp_path, shop, capsys):
    data, folder = shop
    path = schema_file(tmp_path / "mine")
    options = config(path).data.options
    path.write_text(OTHER)
    assert catalog.load("logs", options, str(folder / "data")).fingerprint == data.fingerprint
    shown = capsys.readouterr().out
    assert f"schema file {path} now says something else: reading the set that was" in shown
    assert f"{data.folder} (which keeps that file as schema_file.yaml)" in shown
    path.unlink()
    assert catalog.load("logs", options, str(folder / "data")).fingerprint == data.fingerprint
    assert f"schema file {path} is gone: reading" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"is gone, and no set in .*/empty was prepared from what"):
        catalog.load("logs", options, str(tmp_path / "empty"))
    shutil.copytree(folder / "data", tmp_path / "data")
    home = tmp_path / "data" / "logs" / "shop"
    (home / "replaced").mkdir()
    (home / "1.0.0").rename(home / "replaced" / "1.0.0")
    assert catalog.load("logs", options, str(tmp_path / "data")).folder == home / "replaced/1.0.0"


def test_roles_are_those_of_the_file_today_and_a_run_keeps_what_it_read(tmp_path, shop):
    data, folder = shop
    text = SCHEMA.replace("{value: hour(t)}", "{value: hour(t), role: scenario, tokens: when}")
    path = schema_file(tmp_path, text)
    begun = config(path).data.options
    found = catalog.load("logs", begun, str(folder / "data"))
    assert found.fingerprint == data.fingerprint
    assert {f.name: f.role for f in found.schema.fields if f.role} == {"hour": "scenario"}
    assert found.schema.with_roles({}) == data.schema
    star = load_config(f"configs/logs.py:star,schema={path}")
    star.data.data_dir = str(folder / "data")
    run = build_run(star)
    assert run.config.model.star.scenario == ("hour",)
    path.write_text(SCHEMA)
    star.model.star.scenario = run.config.model.star.scenario
    assert identity(build_run(star).config) == identity(run.config)
    path.write_text(text)
    star.model.architecture = "rankmixer"
    assert build_run(star).config.model.rankmixer.fields == "when=hour"
    star.model.architecture = "star"
    path.write_text(SCHEMA)
    star.model.star.scenario = ()
    with pytest.raises(UserError, match=r"give model.star.scenario=FIELD,FIELD, or a field `role"):
        build_run(star)
