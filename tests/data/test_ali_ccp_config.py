"""Ali-CCP's configs."""

import jax

from configs import ali_ccp as config_file
from dtn_jax.config import checked_config
from dtn_jax.data.sets import catalog
from dtn_jax.data.sets.ali_ccp import BAGS, CROSSES, FIELDS
from dtn_jax.models import build as architectures
from dtn_jax.models import flops
from dtn_jax.run.state import example_inputs
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables.plan import make_plan


def model_of(argument):
    """The config, and the model's size on the 23 fields."""
    config = config_file.get_config(argument)
    checked_config(config)
    builder = catalog.make_builder("ali_ccp", config.data.options, "nowhere", "")
    tasks = [
        Task(t.name, also_report=t.also_report, upstream=t.upstream) for t in builder.spec.tasks
    ]
    bags = {name: 7 if name in BAGS else 1 for name in (*BAGS, *CROSSES)}
    fields = tuple(
        Field(name, "bag" if name in bags else "categorical", rows=9, slots=bags.get(name, 1))
        for name in FIELDS
    )
    schema = Schema("ali_ccp", fields, tuple(tasks))
    model, count = config.model, architectures.codebooks(config.model, schema)
    views = architectures.views(model, schema)
    plan = make_plan(schema, model, views, count)
    inputs = jax.eval_shape(lambda: example_inputs(plan))
    size = flops.count(architectures.build(model, schema), inputs)
    return config, size.parameters + count * plan.codebook_rows * plan.dim, size


def test_the_released_settings_make_a_model_of_the_released_size():
    config, parameters, size = model_of("dtn,released")
    affine = 2 * 23 * 64  # what is left of their batch normalisation
    assert parameters == 60_331_924 - affine
    assert size.flops_per_example == 88_843_520
    assert config.data.options == "min_count=1,max_values=1000,pooling=unweighted"
    assert model_of("mmoe,released")[0].model.embedding_dim == 16
    assert model_of("ple,released")[0].model.group_experts == "shared=mlp*2"
    assert model_of("stem,released")[0].model.experts == "mlp"
