"""UCI Adult whose numbers are logarithms: as `adult_numbers`, of sign(x) log(1 + |x|)."""

from experiments.tables.protocol import NO_FUNNEL, SETTLED
from experiments.tables.protocols._numbers import of_numbers
from experiments.tables.protocols.adult import PROTOCOL as USUAL

PROTOCOL = of_numbers(USUAL, SETTLED + NO_FUNNEL, "log")
