"""Config files and their arguments: what is read, and what is said of one that is not there."""

import json
import textwrap

import pytest
import refused_configs
from refused_configs import refused

from configs import adult
from dtn_jax import config as options
from dtn_jax.config import base_config, files, variant
from dtn_jax.models.architectures import ARCHITECTURES

in_the_repository = refused_configs.in_the_repository


def test_a_config_file_gets_its_argument():
    config = options.load_config("configs/adult.py:mmoe,quick,seed=3,optim.tables=sgd")
    assert config.data.dataset == "adult"
    assert config.model.architecture == "mmoe"
    assert config.train.epochs == adult.get_config("quick").train.epochs != 4
    assert (config.seed, config.optim.tables) == (3, "sgd")


def test_an_argument_may_be_empty_and_may_hold_blanks():
    assert options.load_config("configs/adult.py") == options.load_config("configs/adult.py:")
    assert options.load_config("configs/adult.py: ple , seed = 3 ,").model.architecture == "ple"


def test_later_parts_of_an_argument_win():
    assert options.load_config("configs/adult.py:quick,train.epochs=7").train.epochs == 7
    assert options.load_config("configs/adult.py:train.epochs=7,quick").train.epochs == 1


def test_an_argument_may_hold_a_tuple_in_brackets():
    config = options.load_config("configs/adult.py:model.mlp.hidden=(32,16),seed=1")
    assert (config.model.mlp.hidden, config.seed) == ((32, 16), 1)
    config = options.load_config("configs/adult.py:seed=1,model.mlp.hidden=[32, 16]")
    assert (config.model.mlp.hidden, config.seed) == ((32, 16), 1)


@pytest.mark.parametrize(
    "spec",
    ["configs/adlut.py:dtn", "configs", "adult", "nowhere/adult.py", "configs/base.py", "Makefile"],
)
def test_a_file_that_is_no_config_is_answered_with_those_that_are(spec):
    message = refused(options.load_config, spec)
    assert spec.partition(":")[0] in message
    assert "the config files are: configs/adult.py, configs/ali_ccp.py, configs/aliex" in message
    assert "base.py," not in message
    assert "__init__" not in message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "import nowhere_to_be_found",
            "ModuleNotFoundError: No module named 'nowhere_to_be_found'",
        ),
        ("def get_config(argument)", "SyntaxError"),
        ("def get_config(argument):\n    return 1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(0)", "SystemExit: 0"),
        ("def get_config(argument):\n    raise SystemExit(0)", "SystemExit: 0"),
    ],
)
def test_a_config_file_that_fails_is_named_with_the_reason(tmp_path, text, reason):
    (tmp_path / "mine.py").write_text(text)
    message = refused(options.load_config, f"{tmp_path}/mine.py")
    line = text.count("\n") + 1
    assert f"config file {tmp_path}/mine.py fails, line {line}: {reason}" in message


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("return None", "returns None, expected a ConfigDict"),
        ("return {'seed': 1}", "returns {'seed': 1}, expected a ConfigDict"),
        ("return ml_collections.ConfigDict()", "the config has no 'seed'"),
        ("c.optim.learning_rate = 'much'", "optim.learning_rate=much: expected a number at least"),
        ("c.data.batch_size = None", "data.batch_size=None: expected a whole number at least 1"),
        ("c.model.experts = ('mlp',)", "model.experts=('mlp',): expected text"),
        ("c.plugins = None", "plugins=None: expected text"),
        ("c.replicas = 4", "replicas=4: expected text"),
        ("c.data.dataset = 3", "data.dataset=3: expected one of adult, "),
        ("c.model.tower_hidden = 64", "model.tower_hidden=64: expected whole numbers"),
        ("c.optim.learning_rat = 3", "'optim.learning_rat', which nothing declares. Did you mean"),
    ],
)
def test_a_config_that_a_file_returns_is_checked(tmp_path, lines, reason):
    text = f"""
        import ml_collections
        from configs import base

        def get_config(argument):
            c = base.get_config()
            with c.ignore_type(), c.unlocked():
                {lines}
            return c
    """
    (tmp_path / "mine.py").write_text(textwrap.dedent(text))
    message = refused(options.load_config, f"{tmp_path}/mine.py")
    assert f"{tmp_path}/mine.py" in message
    assert reason in message


def test_your_own_config_file_may_lie_anywhere(tmp_path):
    text = """
        from configs import adult

        def get_config(argument):
            config = adult.get_config(argument)
            config.train.epochs = 9
            return config
    """
    (tmp_path / "mine.py").write_text(textwrap.dedent(text))
    config = options.load_config(f"{tmp_path}/mine.py:ple")
    assert (config.model.architecture, config.train.epochs) == ("ple", 9)
    assert f"{tmp_path}/mine.py" in refused(options.load_config, f"{tmp_path}/yours.py")


def test_a_shipped_config_does_not_hide_your_own_of_the_same_path(tmp_path, monkeypatch):
    text = """
        from configs import base

        def get_config(argument):
            config = base.get_config()
            config.train.epochs = 9
            return config
    """
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/adult.py").write_text(textwrap.dedent(text))
    monkeypatch.chdir(tmp_path)
    assert options.load_config("configs/adult.py").train.epochs == 9
    assert options.load_config("configs/kuairand.py").data.dataset == "kuairand"  # a shipped one


def test_a_config_file_cannot_set_an_option_that_nobody_reads(tmp_path):
    text = (
        "from configs import adult\n\n\ndef get_config(argument):\n    config = adult.get_config()"
    )
    (tmp_path / "mine.py").write_text(f"{text}\n    config.train.epoch = 9\n    return config\n")
    message = refused(options.load_config, f"{tmp_path}/mine.py")
    assert "epoch" in message
    assert 'Did you mean "epochs"' in message


def test_an_unknown_part_of_the_argument_is_answered_with_the_choices():
    message = refused(options.load_config, "configs/adult.py:dtn,qick")
    assert "'qick'" in message
    assert "Did you mean 'quick'?" in message
    for choice in (*ARCHITECTURES, "quick", "key=value"):
        assert choice in message


def test_two_architectures_are_one_too_many():
    assert "got dtn and mmoe" in refused(options.load_config, "configs/adult.py:dtn,mmoe")


@pytest.mark.parametrize(
    ("argument", "dropout"),
    [
        ("dtn", 0.3),
        ("mmoe", 0.1),
        ("ple", 0.0),  # never tuned
        ("", 0.0),  # none is named
        ("model.architecture=mmoe", 0.0),
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
