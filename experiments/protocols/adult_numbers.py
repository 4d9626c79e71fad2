"""UCI Adult whose numbers keep their value: what embeddings of numbers do, beside `adult`."""

from dtn_jax.papertables.protocol import NO_FUNNEL, SETTLED

from ._numbers import of_numbers
from .adult import PROTOCOL as USUAL

PROTOCOL = of_numbers(USUAL, SETTLED + NO_FUNNEL)
