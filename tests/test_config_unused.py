"""Options that contradict or change nothing are told."""

import dataclasses
import inspect
import types

import numpy as np
import pytest
import refused_configs
from refused_configs import changed, refused

from configs import base
from dtn_jax import config as options
from dtn_jax.config import declarations
from dtn_jax.config.unused import REASONS, unused
from dtn_jax.options import per_task

in_the_repository = refused_configs.in_the_repository


def config(**changes):
    made = base.get_config()
    made.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return made


def test_an_option_of_what_is_not_there():
    one = config(model__architecture="mmoe", model__experts="mlp")
    assert unused([one], ["model.dtn.tsn", "model.mlp.hidden", "seed", "no.such"]) == [
        "model.dtn.tsn changes nothing: it is an option of dtn, and the run has mmoe"
    ]
    assert unused([one], ["model.gdcn.layers", "loss.focal.gamma"]) == [
        "model.gdcn.layers changes nothing: it is an option of gdcn, and the run has mlp",
        "loss.focal.gamma changes nothing: it is an option of focal, and the run has none of these",
    ]
    assert not unused([one, config()], ["model.dtn.tsn"])  # one of a sweep's has it
    assert not unused([config(loss__tasks="click=focal")], ["loss.focal.gamma"])


def test_options_of_sections_that_change_nothing():
    cases = {
        "optim.codebook_init": ({"model__experts": "mlp"}, {"model__experts": "mlp+hcnet"}),
        "data.device_bytes": ({"data__placement": "stream"}, {}),
        "parallel.table_devices": ({"parallel__strategy": "pmap"}, {}),
        "parallel.message_rows": ({"parallel__strategy": "pmap"}, {}),
        "train.start_from_optimizer": ({}, {"train__start_from": "runs/first"}),
        "train.max_examples": ({}, {"train__patience": 2}),
        "loss.sample_weights": ({"data__dataset": "kuairand"}, {"data__dataset": "adult"}),
        "evaluate.sample_weights": ({"data__dataset": "movielens"}, {"data__dataset": "logs"}),
    }
    assert set(cases) == set(REASONS) <= set(declarations())
    for key, (without, having) in cases.items():
        (line,) = unused([config(**without)], [key])
        assert line.startswith(f"{key} changes nothing: ")
        assert not unused([config(**having)], [key])


@pytest.mark.parametrize("value", ["1e-320", "1e-10", "1e10", "-1", "inf", "nan"])
def test_a_weight_out_of_range(value):
    message = refused(per_task, f"a={value}", ("a", "b"), "loss.task_weights", 1.0)
    assert message == (
        f"loss.task_weights: expected 0 or a number from 1e-09 to 1e+09, got 'a={value}'"
    )
    assert per_task("a=0,b=1e9", ("a", "b"), "x", 1.0) == {"a": 0, "b": 1e9}


@pytest.mark.parametrize("key", ["optim.table_init", "optim.codebook_init"])
def test_tables_begin_near_zero(key):
    message = refused(options.checked_config, changed(key, 1e30))
    assert message == f"{key}=1e+30: expected a number at least 0 and at most 100"


def test_weights_that_are_all_equal_are_told(monkeypatch, capsys):
    from dtn_jax import train

    class Reader:
        weights = np.ones(5, np.float32)

        def __init__(self, data, split):
            assert split == "train"

        def between(self, start, stop):
            return types.SimpleNamespace(in_loss=lambda: self.weights[start:stop])

    class Run:
        config = config(loss__sample_weights=True)
        data = dataclasses.make_dataclass("Data", ["rows"])({"train": 5})

    monkeypatch.setattr(train, "SplitReader", Reader)
    tell = inspect.unwrap(train.tell_of_weights)  # without the check of types
    tell(Run)
    assert "note: loss.sample_weights=True changes nothing" in capsys.readouterr().out
    Reader.weights = np.array([1, 1, 1, 1, 2], np.float32)
    tell(Run)
    assert capsys.readouterr().out == ""
