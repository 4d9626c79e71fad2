"""A config that cannot be, by each of its options: one clear message, and no harm done."""

import pytest
from command_calls import TINY, one_line

from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.experts import EXPERTS

pytest_plugins = ["finished_runs"]
pytestmark = pytest.mark.usefixtures("in_the_repository")


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ("optim.learning_rat=1", ("'optim.learning_rat'", "optim.learning_rate", "--help=all")),
        ("model.hidden=8", ("model.pnn.hidden or model.mlp.hidden",)),
        ("seed=1.5", ("'seed' expects a whole number", "got '1.5'")),
        ("optim.learning_rate=nan", ("optim.learning_rate=nan", "at least 0")),
        ("optim.learning_rate=inf", ("optim.learning_rate=inf", "at least 0")),
        ("optim.learning_rate=-1", ("optim.learning_rate=-1.0", "at least 0")),
        ("model.architecture=mmo", ("'mmo'", "Did you mean 'mmoe'?", *ARCHITECTURES)),
        ("model.experts=gdnc", ("expert 'gdnc'", "Did you mean 'gdcn'?", *EXPERTS)),
        ("model.experts=mlp*0", ("'mlp*0'", "a count >= 1", "got '0'")),
        ("model.experts=mlp+", ("unknown expert ''", *EXPERTS)),
        ("model.group_experts=buy=mlp", ("'buy'", "shared")),
        ("model.group_experts=mlp", ("expected group=experts", "got 'mlp'")),
        ("data.dataset=adlut", ("'adlut'", "Did you mean 'adult'?", "census_income")),
        ("data.options=rows=9", ("unknown option of data set 'adult' 'rows'", "numbers")),
        ("data.dataset=synthetic data.options=row=9", ("'row'", "rows, ids, seed")),
        ("data.dataset=synthetic data.options=rows=9", ("rows=9", "at least 1000")),
        ("data.dataset=synthetic data.options=rows=x", ("whole number", "'x'")),
        ("train.select=age", ("'age'", "mean, income, never_married")),
        ("model.upstream=income", ("expected task:upstream", "got 'income'")),
        ("model.upstream=age:income", ("unknown task 'age'", "income, never_married")),
        ("model.upstream=income:age", ("'age'", "income, never_married")),
        (
            "model.upstream=income:never_married,never_married:income",
            ("cycle: income -> never_married -> income",),
        ),
        ("model.mlp.hidden=0", ("model.mlp.hidden", "whole numbers such as 128,64")),
        ("model.gdcn.layers=0", ("model.gdcn.layers", "a whole number at least 1")),
        ("model.dropout=1.5", ("model.dropout", "at least 0 and below 1")),
        ("model.dtype=float16", ("'float16'", "float32, bfloat16, float64")),
        ("model.dtype=float64", ("JAX_ENABLE_X64=1",)),
        (
            "model.architecture=dtn model.dtn.task_groups=0 model.dtn.shared_group=0",
            ("task_groups and shared_group are both off",),
        ),
        ("model.experts=hcnet model.hcnet.fields=colour", ("'colour'", "age", "race")),
        ("model.experts=hcnet model.hcnet.fields=race", ("pairs", "race")),
        ("data.batch_size=12", ("12 is not divisible by", "8 lanes", "8 and 16")),
        ("data.batch_size=12 parallel.devices=8", ("by 8 devices", "8 and 16")),
        ("data.batch_size=4 parallel.devices=8", ("by 8 devices; the nearest: 8;",)),
        (
            "data.eval_batch_size=12 parallel.devices=8",
            ("data.eval_batch_size=12", "8 and 16"),
        ),
        ("parallel.devices=9", ("parallel.devices=9", "one of 1, 2, 4, 8", "8 devices")),
        ("parallel.devices=3", ("parallel.devices=3", "one of 1, 2, 4, 8")),
        ("loss.task_weights=income", ("loss.task_weights", "task=number, got 'income'")),
        ("loss.task_weights=age=2", ("'age'", "income, never_married")),
        ("loss.positive_weights=income=much", ("loss.positive_weights", "'income=much'")),
        # beyond a range
        ("model.experts=mlp*999999999", ("'mlp*999999999'", "at most 1,000")),
        ("model.group_experts=shared=mlp*999+gdcn*2", ("at most 1,000 in a group",)),
        ("evaluate.ece_bins=1000000000", ("at least 1 and at most 1000000",)),
        ("optim.warmup_steps=2147483648", ("at least 0 and below 2147483648",)),
        (
            "model.architecture=stem model.stem.levels=1000000000",
            ("at least 1 and at most 100",),
        ),
        ("model.experts=gdcn model.gdcn.layers=1000000000", ("at least 1 and at most 100",)),
        ("replicas=100000", ("replicas='100000'", "1 to 1,000 seeds")),
        ("replicas=999999999999999999", ("1 to 1,000 seeds",)),
    ],
)
def test_a_bad_option(refused, overrides, parts):
    message = one_line(refused(TINY, *(f"--config.{o}" for o in overrides.split())))
    assert all(part in message for part in parts), message


# A folder that is made, and what is read where a task has that loss.
