"""Configs from files and command lines: what is read, what is refused, what identifies a run."""

import pathlib
import textwrap

import pytest
from ml_collections import ConfigDict, FrozenConfigDict
from other_values import another

from configs import adult, base
from dtn_jax import config as options
from dtn_jax import run
from dtn_jax.balancing import BALANCERS, read_balancer
from dtn_jax.config import declarations
from dtn_jax.errors import UserError
from dtn_jax.losses import LOSSES, read_losses
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.experts import EXPERTS
from dtn_jax.options import declared
from dtn_jax.run import build_run
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.train import train

ROOT = pathlib.Path(__file__).parents[1]
DEFAULTS = options.flatten(base.get_config())


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def refused(call, *arguments, **named) -> str:
    """The message with which a call is refused."""
    with pytest.raises(UserError) as caught:
        call(*arguments, **named)
    return str(caught.value)


# ---------------------------------------------------------------- config files


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
    assert "the config files are: configs/adult.py, configs/ali_ccp.py, configs/census" in message
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
    ],
)
def test_a_config_file_that_fails_is_named_with_the_reason(tmp_path, text, reason):
    (tmp_path / "mine.py").write_text(text)
    message = refused(options.load_config, f"{tmp_path}/mine.py")
    line = text.count("\n") + 1
    assert f"config file {tmp_path}/mine.py fails, line {line}: {reason}" in message


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


# ---------------------------------------------------------------- overrides


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("seed", "3", 3),
        ("seed", " 3 ", 3),
        ("optim.learning_rate", "3e-4", 3e-4),
        ("optim.learning_rate", "1", 1.0),
        ("loss.sample_weights", "true", True),
        ("loss.sample_weights", "False", False),
        ("loss.sample_weights", "1", True),
        ("loss.sample_weights", "0", False),
        ("model.experts", "gdcn+mlp*2", "gdcn+mlp*2"),
        ("loss.task_weights", "click=1,order=0.5", "click=1,order=0.5"),
        ("model.mlp.hidden", "128,64", (128, 64)),
        ("model.mlp.hidden", "(128,64)", (128, 64)),
        ("model.mlp.hidden", "[128, 64]", (128, 64)),
        ("model.mlp.hidden", "(128,)", (128,)),
        ("model.mlp.hidden", "128", (128,)),
        ("model.mlp.hidden", "()", ()),
        ("model.mlp.hidden", "", ()),
        ("model.hcnet.fields", "race,native-country", ("race", "native-country")),
        ("model.hcnet.fields", "(race, native-country)", ("race", "native-country")),
        ("model.hcnet.fields", "('race', \"native-country\")", ("race", "native-country")),
        ("model.hcnet.fields", "101,205", ("101", "205")),
        ("model.hcnet.fields", "()", ()),
    ],
)
def test_an_override_is_cast_to_the_options_type(key, text, value):
    config = base.get_config()
    options.override(config, key, text)
    assert repr(options.flatten(config)[key]) == repr(value)  # 1 is not 1.0, nor True, nor '1'


def test_an_empty_tuple_does_not_forget_what_it_may_hold():
    config = base.get_config()
    for text, value in [("", ()), ("8,4", (8, 4))]:
        options.override(config, "model.mlp.hidden", text)
        assert config.model.mlp.hidden == value
    for text, value in [("race", ("race",)), ("", ()), ("race,gender", ("race", "gender"))]:
        options.override(config, "model.hcnet.fields", text)
        assert config.model.hcnet.fields == value


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("seed", "1.5", "a whole number"),
        ("seed", "1e3", "a whole number"),
        ("seed", "", "a whole number"),
        ("train.epochs", "many", "a whole number"),
        ("optim.learning_rate", "fast", "a number"),
        ("optim.learning_rate", "1,5", "a number"),
        ("loss.sample_weights", "maybe", "true or false"),
        ("loss.sample_weights", "2", "true or false"),
        ("model.mlp.hidden", "wide", "whole numbers such as 128,64"),
        ("model.mlp.hidden", "128,6.5", "whole numbers such as 128,64"),
        ("model.mlp.hidden", "(128.0,)", "whole numbers such as 128,64"),
        ("model.mlp.hidden", "(128", "whole numbers such as 128,64"),
    ],
)
def test_a_value_of_another_type_is_refused(key, text, expected):
    config = base.get_config()
    message = refused(options.override, config, key, text)
    assert message.startswith(f"config key {key!r} expects {expected}")
    assert message.endswith(f", got {text!r}")
    assert options.flatten(config) == DEFAULTS


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("optim.learning_rat", "optim.learning_rate"),
        ("optim.lerning_rate", "optim.learning_rate"),
        ("learning_rate", "optim.learning_rate"),
        ("model.learning_rate", "optim.learning_rate"),
        ("batchsize", "data.batch_size"),
        ("epoch", "train.epochs"),
        ("model.hidden", "model.masknet.hidden or model.mlp.hidden"),
        ("embedding_dims", "model.embedding_dim"),
        ("Seed", "seed"),
        ("model.mlp", "model.mlp.hidden"),
        ("parallel", "parallel.devices, parallel.heartbeat_seconds, parallel.processes"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(key, nearest):
    config = base.get_config()
    message = refused(options.override, config, key, "1")
    assert message.startswith(f"unknown config key {key!r}. ")
    assert nearest in message
    assert "All keys: --help=all." in message
    assert options.flatten(config) == DEFAULTS


def test_a_key_like_no_other_is_answered_with_the_list():
    message = refused(options.override, base.get_config(), "xyzzy", "1")
    assert message == "unknown config key 'xyzzy'. All keys: --help=all."


# ---------------------------------------------------------------- the checked config


def changed(key, value) -> ConfigDict:
    config = base.get_config()
    config.update_from_flattened_dict({key: value})
    return config


def test_a_checked_config_is_frozen():
    config = options.checked_config(base.get_config())
    assert options.flatten(config) == DEFAULTS
    with pytest.raises(AttributeError):
        config.seed = 3
    with pytest.raises(AttributeError):
        config.model.mlp.hidden = ()


def bounded(*names):
    """The keys of numbers that have one of these bounds."""
    return [
        k
        for k, found in declarations().items()
        if any(getattr(found.option, name) is not None for name in names)
    ]


def test_every_option_explains_itself():
    for key, found in declarations().items():
        assert found.option.help, key
        assert not found.option.help.endswith("."), key
        found.option.check(key, found.option.default)


@pytest.mark.parametrize("key", [k for k, d in declarations().items() if d.option.choices])
def test_a_choice_is_one_of_those_listed(key):
    choices = declarations()[key].option.words
    for choice in choices:
        options.checked_config(changed(key, choice))
    message = refused(options.checked_config, changed(key, "nonsense"))
    assert message.startswith(f"unknown {key} 'nonsense'.")
    assert f"The choices are: {', '.join(choices)}." in message


@pytest.mark.parametrize("key", bounded("least", "above"))
def test_a_number_is_not_too_low(key):
    option = declarations()[key].option
    kind, low = type(option.default), option.least if option.above is None else option.above
    if option.above is None:
        options.checked_config(changed(key, kind(low)))
    bad = [low - 1] if kind is int else [low - 0.1, float("nan"), float("inf")]
    for value in bad if option.above is None else [*bad, low]:
        message = refused(options.checked_config, changed(key, kind(value)))
        assert message == f"{key}={kind(value)}: expected {option.expected}"
        assert f"{low:g}" in option.expected


@pytest.mark.parametrize("key", bounded("most", "below"))
def test_a_number_is_not_too_high(key):
    option = declarations()[key].option
    kind, high = type(option.default), option.most if option.below is None else option.below
    if option.below is None:
        options.checked_config(changed(key, kind(high)))
    for value in [high + 1] if option.below is None else [high + 1, high]:
        message = refused(options.checked_config, changed(key, kind(value)))
        assert message == f"{key}={kind(value)}: expected {option.expected}"


def test_these_numbers_are_bounded():
    """A bound that is dropped from a declaration would be missed by the tests above."""
    low = set(bounded("least", "above"))
    open_below = {k for k, v in DEFAULTS.items() if type(v) in (int, float)} - low
    assert not {k for k in open_below if not declarations()[k].family}
    for thing in ("ple", "stem", "adatt", "aitm", "gdcn", "masknet", "dcnv2", "huber", "focal"):
        assert not {k for k in open_below if f".{thing}." in k}
    assert {k for k in open_below if ".hcnet." in k} == {"model.hcnet.seed"}
    assert {"optim.b1", "optim.eps", "model.dropout", "data.train_share", "seed"} <= set(
        bounded("most", "below")
    )


@pytest.mark.parametrize("value", [(0,), (8, -1), ("x",), (8.0,)])
def test_widths_are_whole_numbers_of_at_least_one(value):
    config = base.get_config()
    config.unlock()
    config.model.mlp.hidden = value
    assert "model.mlp.hidden" in refused(options.checked_config, config)


def test_an_option_that_nothing_declares_is_refused():
    config = base.get_config()
    config.unlock()
    config.train.epoch = 1
    assert "'train.epoch'" in refused(options.checked_config, config)


def test_a_config_without_an_option_is_refused():
    config = base.get_config()
    config.unlock()
    del config.train.patience
    message = refused(options.checked_config, config)
    assert message == "the config has no 'train.patience': a config edits that of configs/base.py"


# ---------------------------------------------------------------- identity


def used(key) -> dict[str, str]:
    """Settings with which the run has that whose option this is."""
    member = declarations()[key].member
    kinds = {"model.architecture": ARCHITECTURES, "model.experts": EXPERTS}
    kinds |= {"loss.tasks": LOSSES, "loss.balancing": BALANCERS}
    named = f"task={member}" if member in LOSSES else member
    return {key: named for key, members in kinds.items() if member in members}


def configured(settings) -> ConfigDict:
    config = base.get_config()
    config.update_from_flattened_dict(settings)
    return config


@pytest.mark.parametrize("key", [k for k in DEFAULTS if k != "plugins"])
def test_an_option_is_part_of_the_identity_unless_it_is_runtime(key):
    settings, option = used(key), declarations()[key].option
    words = {"model.experts": "mlp", "model.group_experts": "shared=mlp"}  # others are refused
    free = isinstance(option.default, str) and not option.choices
    value = words.get(key, "other") if free else another(option, option.default)
    before = options.identity(configured(settings))
    after = options.identity(configured(settings | {key: value}))
    differing = options.differing(before, after)
    assert (key in differing) == (not declarations()[key].option.runtime)
    assert differing == ([] if declarations()[key].option.runtime else [key]) or key in (
        "model.architecture",
        "model.experts",
        "model.group_experts",
        "loss.balancing",  # whose options come with it
    )


def test_options_of_what_a_run_does_not_have_are_no_part_of_it():
    before = options.identity(configured({"model.architecture": "mmoe", "model.experts": "mlp"}))
    others = {"model.dtn.tsn": False, "model.fusion": "released", "model.gdcn.layers": 5}
    after = options.identity(
        configured({"model.architecture": "mmoe", "model.experts": "mlp"} | others)
    )
    assert before == after
    assert "model.mlp.hidden" in before
    by_group = configured({"model.experts": "mlp", "model.group_experts": "shared=gdcn"})
    assert "model.gdcn.layers" in options.identity(by_group)


def test_an_option_that_a_stored_config_lacks_has_its_default():
    now = options.identity(base.get_config())
    stored = {k: v for k, v in now.items() if k != "optim.clip"}
    assert options.differing(stored, now) == []
    clipped = options.identity(changed("optim.clip", 1.0))
    assert options.differing(stored, clipped) == ["optim.clip"]
    as_text = {k: str(v) for k, v in now.items()}
    assert options.differing(as_text, now) == []


def test_what_another_version_had_is_told():
    now = options.identity(base.get_config())
    assert options.differing(options.identity(now | {"model.gone": 1}), now) == ["model.gone"]


def test_runtime_options_are_these():
    """One more would let runs that differ share a folder; one less keeps a run from its own."""
    assert sorted(k for k, found in declarations().items() if found.option.runtime) == [
        "analysis.rows",
        "data.data_dir",
        "data.device_bytes",
        "data.eval_batch_size",
        "data.manual_dir",
        "data.placement",
        "debug.check_ids",
        "parallel.devices",
        "parallel.heartbeat_seconds",
        "parallel.processes",
        "parallel.strategy",
        "parallel.table_devices",
        "train.accumulate",
        "train.checkpoint_every",
        "train.log_every",
        "train.remat",
    ]


# ---------------------------------------------------------------- every option is read


class Recorder:
    """A frozen config that notes which of its options are read by name.

    Reading all of them at once, as for config.json, does not count.
    """

    __class__ = FrozenConfigDict  # to whoever checks its type

    def __init__(self, config, read, prefix=""):
        self._config, self._read, self._prefix = config, read, prefix

    def __getattr__(self, name):
        return self[name] if name in self._config else getattr(self._config, name)

    def __getitem__(self, name):
        value = self._config[name]
        if isinstance(value, FrozenConfigDict):
            return Recorder(value, self._read, f"{self._prefix}{name}.")
        self._read.add(self._prefix + name)
        return value

    def __contains__(self, name):
        return name in self._config

    def get(self, name, default):
        return self[name] if name in self._config else default


def test_every_option_is_read(prepared_dir, tmp_path, monkeypatch):
    """By a run of two steps, and by the making of architectures and losses that have own ones."""
    check, read = options.checked_config, set()
    monkeypatch.setattr(run, "checked_config", lambda config: Recorder(check(config), read))
    config = adult.get_config("shared_bottom")
    config.data.data_dir = prepared_dir
    config.parallel.devices = 1
    config.parallel.processes = "here:1,1,0"
    monkeypatch.setattr("jax.distributed.initialize", lambda **_: None)
    config.model.experts = "mlp"
    config.model.embedding_dim = config.model.expert_dim = 4
    config.model.mlp.hidden = config.model.tower_hidden = ()
    config.train.max_steps = 2
    train(config, tmp_path / "run")
    with_options = [name for name, owner in ARCHITECTURES.items() if declared(owner)]
    for argument in (*with_options, f"dtn,model.experts={'+'.join(EXPERTS)}"):
        config = adult.get_config(argument)
        config.data.data_dir = prepared_dir
        build_run(config)
    tasks = tuple(Task(name, loss.kind) for name, loss in LOSSES.items())
    toy = Schema("toy", (Field("a"),), tasks)
    for balancer in BALANCERS:
        own = {"loss.tasks": ",".join(f"{n}={n}" for n in LOSSES), "loss.balancing": balancer}
        loss = Recorder(check(configured(own)), read).loss
        read_losses(loss, toy)
        read_balancer(loss, ("shared",), "shared")
    assert sorted(set(DEFAULTS) - read - {"plugins"}) == []
