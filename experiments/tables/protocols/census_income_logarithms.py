"""KDD Census-Income whose numbers are logarithms; else as `census_income_numbers`."""

from experiments.tables.protocol import NO_FUNNEL, SETTLED
from experiments.tables.protocols._numbers import of_numbers
from experiments.tables.protocols.census_income import PROTOCOL as USUAL

PROTOCOL = of_numbers(USUAL, SETTLED + NO_FUNNEL, "log")
