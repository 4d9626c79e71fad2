"""UCI Adult whose numbers are logarithms: as `adult_numbers`, of sign(x) log(1 + |x|)."""

from dtn_jax.papertables.protocol import NO_FUNNEL, SETTLED

from ._numbers import of_numbers
from .adult import PROTOCOL as USUAL

PROTOCOL = of_numbers(USUAL, SETTLED + NO_FUNNEL, "log")
