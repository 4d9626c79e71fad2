"""Config files and their arguments: what is read, and what is said of one that is not there."""

import json
import pathlib
import textwrap

import pytest
from refused_configs import refused

from configs import adult
from dtn_jax import config as options
from dtn_jax.config import base_config, files, load_config, variant
from dtn_jax.errors import UserError
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.experts import parse_experts


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(pathlib.Path(__file__).parents[2])


def own_file(path, lines) -> str:
    """A config file with these lines between the config's making and its return."""
    path.parent.mkdir(exist_ok=True)
    head = """
        import ml_collections
        from configs import adult

        def get_config(argument):
            c = adult.get_config(argument)
            with c.ignore_type(), c.unlocked():
    """
    body = textwrap.indent(lines, " " * 8)
    path.write_text(f"{textwrap.dedent(head)}{body}\n    return c\n")
    return str(path)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("", {"data.dataset": "adult", "train.epochs": adult.get_config().train.epochs}),
        (
            "mmoe,quick,seed=3,optim.tables=sgd",
            {"model.architecture": "mmoe", "train.epochs": 1, "seed": 3, "optim.tables": "sgd"},
        ),
        (" ple , seed = 3 ,", {"model.architecture": "ple", "seed": 3}),
        ("quick,train.epochs=7", {"train.epochs": 7}),  # later parts win
        ("train.epochs=7,quick", {"train.epochs": 1}),
        ("model.mlp.hidden=(32,16),seed=1", {"model.mlp.hidden": (32, 16), "seed": 1}),
        ("seed=1,model.mlp.hidden=[32, 16]", {"model.mlp.hidden": (32, 16), "seed": 1}),
    ],
)
def test_a_config_file_gets_its_argument(argument, expected):
    found = options.flatten(options.load_config(f"configs/adult.py:{argument}"))
    assert {key: found[key] for key in expected} == expected
    assert adult.get_config().train.epochs != 1


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("configs/adult.py:dtn,qick", ["'qick'", "Did you mean 'quick'?", *ARCHITECTURES]),
        ("configs/adult.py:dtn,mmoe", ["got dtn and mmoe"]),
        *(
            (spec, [spec.partition(":")[0], "configs/adult.py, configs/ali_ccp.py, configs/aliex"])
            for spec in ("configs/adlut.py:dtn", "configs", "nowhere/adult.py", "configs/base.py")
        ),
        ("Makefile", ["Makefile", "the config files are"]),
    ],
)
def test_a_file_or_an_argument_that_is_none_is_answered_with_those_that_are(spec, named):
    message = refused(options.load_config, spec)
    assert all(part in message for part in named)
    assert "base.py," not in message
    assert "__init__" not in message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def get_config(argument)", "SyntaxError"),
        ("def get_config(argument):\n    return 1 / 0", "ZeroDivisionError: division by zero"),
        ("def get_config(argument):\n    raise SystemExit(0)", "SystemExit: 0"),
    ],
)
def test_a_config_file_that_fails_is_named_with_line_and_reason(tmp_path, text, reason):
    (tmp_path / "mine.py").write_text(text)
    message = refused(options.load_config, f"{tmp_path}/mine.py")
    line = text.count("\n") + 1
    assert f"config file {tmp_path}/mine.py fails, line {line}: {reason}" in message


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("return None", "None, expected a ConfigDict"),
        ("c.optim.learning_rate = 'much'", "optim.learning_rate=much: expected a number at least"),
        ("c.data.batch_size = None", "data.batch_size=None: expected a whole number at least 1"),
        ("c.model.experts = ('mlp',)", "model.experts=('mlp',): expected text"),
        ("c.model.tower_hidden = 64", "model.tower_hidden=64: expected whole numbers"),
        ("c.optim.learning_rat = 3", "has an option 'optim.learning_rat'. Did you mean"),
        ("c.lock(); c.train.epoch = 9", 'Did you mean "epochs"'),
    ],
)
def test_a_config_that_a_file_returns_is_checked(tmp_path, lines, reason):
    message = refused(options.load_config, own_file(tmp_path / "mine.py", lines))
    assert f"{tmp_path}/mine.py" in message
    assert reason in message


def test_your_own_config_file_may_lie_anywhere(tmp_path, monkeypatch):
    """And a shipped one does not hide it, of the same path."""
    own = own_file(tmp_path / "configs/adult.py", "c.train.epochs = 9")
    config = options.load_config(f"{own}:ple")
    assert (config.model.architecture, config.train.epochs) == ("ple", 9)
    assert f"{tmp_path}/yours.py" in refused(options.load_config, f"{tmp_path}/yours.py")
    assert options.load_config("configs/adult.py").train.epochs != 9
    monkeypatch.chdir(tmp_path)
    assert options.load_config("configs/adult.py").train.epochs == 9
    assert options.load_config("configs/kuairand.py").data.dataset == "kuairand"  # a shipped one


@pytest.mark.parametrize(
    ("argument", "dropout"),
    [
        ("dtn", 0.3),
        ("ple", 0.0),  # never tuned
        ("model.architecture=mmoe", 0.0),  # none is named
        ("dtn,model.dropout=0.2", 0.2),
        ("model.dropout=0.2,dtn", 0.2),
    ],
)
def test_an_architecture_has_the_settings_that_it_was_tuned_to(
    argument, dropout, tmp_path, monkeypatch
):
    tuned = {"dtn": {"model.dropout": 0.3, "model.experts": "gdcn"}, "mmoe": {"model.dropout": 0.1}}
    (tmp_path / "shop.json").write_text(json.dumps(tuned))
    monkeypatch.setattr(files, "TUNED", tmp_path)
    config = variant(base_config(), argument, tuned="shop")
    assert config.model.dropout == dropout
    assert config.model.experts == ("gdcn" if "dtn" in argument else base_config().model.experts)


@pytest.mark.parametrize("name", ["adult", "census_income", "kuairand", "synthetic", "ali_ccp"])
def test_the_papers_own_model_is_a_flag_of_every_config(name):
    plain = load_config(f"configs/{name}.py:model.architecture=dtn")
    paper = load_config(f"configs/{name}.py:dtn,paper")
    assert {*parse_experts(paper.model.experts)} == {"gdcn", "masknet", "hcnet"}
    assert (paper.model.fusion, paper.model.expert_dim) == ("paper", 256)
    assert paper.optim == plain.optim  # nothing that was tuned for others


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("mmoe,paper", "'paper' goes with dtn here, got 'mmoe,paper'"),
        ("paper", "'paper' goes with dtn here"),
        ("rankmixer,model.experts=mlp", "rankmixer has no experts, and model.experts was given"),
        ("model.group_experts=shared=mlp,infnet", "infnet has no experts, and model.group_exp"),
        ("rankmixer,tuned", "'tuned' goes with dtn, .*mmoe.* here"),
    ],
)
def test_a_flag_without_its_architecture_is_told(argument, message):
    with pytest.raises(UserError, match=message):
        load_config(f"configs/adult.py:{argument}")


def test_tuned_says_aloud_what_naming_an_architecture_does():
    assert load_config("configs/adult.py:dtn,tuned") == load_config("configs/adult.py:dtn")
