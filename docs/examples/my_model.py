from flax import linen as nn

from dtn_jax.interface import SHARED, Outputs
from dtn_jax.models.architectures import Architecture
from dtn_jax.models.gates import mix
from dtn_jax.models.layers import flat
from dtn_jax.options import option


class SoftMMoE(Architecture):
    temperature: float = option(2.0, "of the gates: higher is closer to equal weights", above=0)

    @classmethod
    def layout(cls, schema, own):
        return ((SHARED,),)  # one group of experts, which all tasks share

    @nn.compact
    def __call__(self, inputs, train):
        fields = self.input(name="input")(inputs.fields[SHARED], inputs.row_mask, train)
        experts = list(self.experts(fields, inputs.codewords, train)[SHARED].values())
        logits = {}
        for task in self.tasks:
            scores = nn.Dense(len(experts), name=f"gate_{task.name}")(flat(fields))
            z = mix(nn.softmax(scores / self.temperature), experts)
            logits[task.name] = self.tower(name=f"tower_{task.name}")(z, train)
        return Outputs(logits=logits)


ARCHITECTURES = {"soft_mmoe": SoftMMoE}
