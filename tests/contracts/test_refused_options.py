"""A config that cannot be, by some of its options: one clear message, and no harm done.

What each option may be is tested where it is declared.
"""

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
        ("data.dataset=adlut", ("'adlut'", "Did you mean 'adult'?", "census_income")),
        ("model.upstream=income", ("expected task:upstream", "got 'income'")),
        ("model.upstream=age:income", ("unknown task 'age'", "income, never_married")),
        ("model.experts=hcnet model.hcnet.fields=colour", ("'colour'", "age", "race")),
        ("data.batch_size=12", ("12 is not divisible by", "8 lanes", "8 and 16")),
        ("data.batch_size=12 parallel.devices=8", ("by 8 devices", "8 and 16")),
        (
            "data.eval_batch_size=12 parallel.devices=8",
            ("data.eval_batch_size=12", "8 and 16"),
        ),
        ("parallel.devices=9", ("parallel.devices=9", "one of 1, 2, 4, 8", "8 devices")),
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
