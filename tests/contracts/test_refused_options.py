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
        ("model.architecture=mmo", ("'mmo'", "Did you mean 'mmoe'?", *ARCHITECTURES)),
        ("model.experts=gdnc", ("expert 'gdnc'", "Did you mean 'gdcn'?", *EXPERTS)),
        ("model.experts=mlp*0", ("'mlp*0'", "a count >= 1", "got '0'")),
        ("model.group_experts=buy=mlp", ("'buy'", "shared")),
        ("model.group_experts=mlp", ("expected group=experts", "got 'mlp'")),
        ("data.dataset=adlut", ("'adlut'", "Did you mean 'adult'?", "census_income")),
        ("data.options=rows=9", ("unknown option of data set 'adult' 'rows'", "numbers")),
        ("data.dataset=synthetic data.options=row=9", ("'row'", "rows, ids, seed")),
        ("data.dataset=synthetic data.options=rows=9", ("rows=9", "at least 1000")),
        ("train.select=age", ("'age'", "mean, income, never_married")),
        ("model.upstream=income", ("expected task:upstream", "got 'income'")),
        ("model.upstream=age:income", ("unknown task 'age'", "income, never_married")),
        (
            "model.upstream=income:never_married,never_married:income",
            ("cycle: income -> never_married -> income",),
        ),
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
        (
            "data.eval_batch_size=12 parallel.devices=8",
            ("data.eval_batch_size=12", "8 and 16"),
        ),
        ("parallel.devices=9", ("parallel.devices=9", "one of 1, 2, 4, 8", "8 devices")),
        ("loss.task_weights=income", ("loss.task_weights", "task=number, got 'income'")),
        ("loss.task_weights=age=2", ("'age'", "income, never_married")),
        ("loss.task_weights=income=0,never_married=0", ("loss.task_weights", "all are 0")),
        # beyond a range
        ("model.experts=mlp*999999999", ("'mlp*999999999'", "at most 1,000")),
        ("model.group_experts=shared=mlp*999+gdcn*2", ("at most 1,000 in a group",)),
        ("replicas=100000", ("replicas='100000'", "1 to 1,000 seeds")),
    ],
)
def test_a_bad_option(refused, overrides, parts):
    message = one_line(refused(TINY, *(f"--config.{o}" for o in overrides.split())))
    assert all(part in message for part in parts), message
