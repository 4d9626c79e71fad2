"""Which options identify a run, which say nothing in it, and that every option is read."""

import pytest
from ml_collections import FrozenConfigDict
from other_values import another
from refused_configs import DEFAULTS, changed
from small_runs import NEEDS

from configs import adult
from dtn_jax import config as options
from dtn_jax.balancing import BALANCERS, read_balancer
from dtn_jax.config import declarations
from dtn_jax.config.identity import unused
from dtn_jax.losses import LOSSES, read_losses
from dtn_jax.models import build as architectures
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.experts import EXPERTS
from dtn_jax.models.histories import HISTORIES
from dtn_jax.models.numbers import NUMBERS
from dtn_jax.options import declared
from dtn_jax.run import run
from dtn_jax.run.run import build_run
from dtn_jax.run.start_from import started
from dtn_jax.run.train import train
from dtn_jax.schema import Field, Schema, Task

# ---------------------------------------------------------------- identity


def used(key) -> dict[str, str]:
    """Settings with which the run has that whose option this is."""
    member = "".join(declarations()[key].members[:1])
    kinds = {"model.architecture": ARCHITECTURES, "model.experts": EXPERTS}
    kinds |= {"loss.tasks": LOSSES, "loss.balancing": BALANCERS}
    kinds |= {"model.numbers": NUMBERS, "model.histories": HISTORIES}
    named = f"its={member}" if member in {**LOSSES, **NUMBERS} else member
    return {key: named for key, members in kinds.items() if member in members}


@pytest.mark.parametrize("key", [k for k in DEFAULTS if k != "plugins"])
def test_an_option_is_part_of_the_identity_unless_it_is_runtime(key):
    settings, option = used(key), declarations()[key].option
    words = {"model.experts": "mlp", "model.group_experts": "shared=mlp"}  # others are refused
    free = isinstance(option.default, str) and not option.choices
    value = words.get(key, "other") if free else another(option, option.default)
    before = options.identity(changed(**settings))
    differing = options.differing(before, options.identity(changed(**settings | {key: value})))
    assert (key in differing) == (not option.runtime)
    assert differing == ([] if option.runtime else [key]) or key in (
        "model.architecture",
        "model.experts",
        "model.group_experts",
        "loss.balancing",  # whose options come with it
    )


def test_options_of_what_a_run_does_not_have_are_no_part_of_it():
    has = {"model__architecture": "mmoe", "model__experts": "mlp"}
    others = {"model__dtn__tsn": False, "model__fusion": "released", "model__gdcn__layers": 5}
    before = options.identity(changed(**has))
    assert before == options.identity(changed(**has | others))
    assert "model.mlp.hidden" in before
    by_group = changed(model__experts="mlp", model__group_experts="shared=gdcn")
    assert "model.gdcn.layers" in options.identity(by_group)


def test_runtime_options_are_these():
    """One more would let runs that differ share a folder; one less keeps a run from its own."""
    runtime = """
        analysis.rows data.data_dir data.device_bytes data.eval_batch_size data.manual_dir
        data.placement parallel.check_memory parallel.devices
        parallel.heartbeat_seconds parallel.meet_seconds parallel.message_rows
        parallel.processes parallel.strategy parallel.table_devices parallel.table_platform
        train.accumulate train.checkpoint_every train.log_every train.skip_nonfinite
        train.trackers
    """
    assert sorted(k for k, d in declarations().items() if d.option.runtime) == runtime.split()


# ---------------------------------------------------------------- options that say nothing


CASES = {  # {option: (with these it says nothing, with these it does)}
    "model.dtn.tsn": ({"model__architecture": "mmoe"}, {}),
    "model.gdcn.layers": ({"model__experts": "mlp"}, {}),
    "loss.focal.gamma": ({}, {"loss__tasks": "click=focal"}),
    "model.periodic.sigma": (
        {"data__options": "numbers=standardise", "model__numbers": "age=autodis"},
        {"data__options": "numbers=standardise", "model__numbers": "age=autodis,a=periodic"},
    ),
    "model.autodis.temperature": ({}, {"data__dataset": "logs", "data__options": "schema=x.yaml"}),
    **dict.fromkeys(
        ("model.experts", "model.group_experts", "model.expert_dim"),
        ({"model__architecture": "rankmixer"}, {}),
    ),
    "loss.sample_weights": ({"data__dataset": "kuairand"}, {"data__dataset": "adult"}),
    "evaluate.sample_weights": ({"data__dataset": "movielens"}, {"data__dataset": "logs"}),
}


@pytest.mark.parametrize("key", CASES)
def test_an_option_that_changes_nothing_is_told(key):
    without, having = (changed(**changes) for changes in CASES[key])
    (line,) = unused(without, [key, "seed", "no.such", "data.placement"])
    assert line.startswith(f"{key} changes nothing: ")
    assert not unused(having, [key])


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


def test_every_option_is_read(prepared_dir, tmp_path, monkeypatch, capsys):
    """By a run of two steps, and by the making of architectures and losses that have own ones."""
    check, read = options.checked_config, set()
    monkeypatch.setattr(run, "checked_config", lambda config: Recorder(check(config), read))
    config = adult.get_config("model.architecture=shared_bottom")
    config.data.data_dir = prepared_dir
    config.parallel.devices = 1
    config.parallel.processes = "localhost:1,1,0"
    monkeypatch.setattr("jax.distributed.initialize", lambda **_: None)
    config.loss.sample_weights = True
    config.model.experts = "mlp"
    config.model.embedding_dim = config.model.expert_dim = 4
    config.model.mlp.hidden = config.model.tower_hidden = ()
    config.train.max_steps = 2
    train(config, tmp_path / "run")
    assert "sample_weights" not in capsys.readouterr().out  # which are not all equal
    config.train.start_from = str(tmp_path / "run")
    started(build_run(config), tmp_path / "next")
    with_options = [name for name, owner in ARCHITECTURES.items() if declared(owner)]
    for argument in (*with_options, f"dtn,model.experts={'+'.join(EXPERTS)}"):
        config = adult.get_config(argument)
        config.data.data_dir = prepared_dir
        needs = NEEDS.get(argument, {})
        config.update_from_flattened_dict({k.replace("__", "."): v for k, v in needs.items()})
        build_run(config)
    past = [Field(n, "sequence", slots=2, table="item", target="item") for n in HISTORIES]
    shop = Schema("shop", (Field("item"), *past), (Task("click"),))
    ways = ",".join(f"{n}={n}" for n in HISTORIES)
    architectures.build(Recorder(check(changed(model__histories=ways)), read).model, shop)
    tasks = tuple(Task(name, loss.kind) for name, loss in LOSSES.items())
    toy = Schema("toy", (Field("a", "numeric", rows=3),), tasks)
    for balancer, owner in BALANCERS.items():
        named = [
            n for n in LOSSES if not (owner.positive and getattr(LOSSES[n], "negative", False))
        ]
        own = {"loss.tasks": ",".join(f"{n}={n}" for n in named), "loss.balancing": balancer}
        own["loss.d2q.field"] = "a"
        loss = Recorder(check(changed(**own)), read).loss
        read_losses(loss, toy)
        read_balancer(loss, ("shared",), "shared")
    number = Field("x", "numeric", rows=2, standardised=True, edges=(0.0, 1.0))
    for embedding in NUMBERS:
        toy = Schema("toy", (number,), (Task("y"),)).with_embeddings({"x": embedding})
        architectures.build(Recorder(check(changed()), read).model, toy)
    assert sorted(set(DEFAULTS) - read - {"plugins"}) == []
