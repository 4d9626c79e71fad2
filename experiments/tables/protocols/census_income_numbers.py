"""KDD Census-Income whose numbers keep their value: what embeddings of numbers do."""

from experiments.tables.protocol import NO_FUNNEL, SETTLED
from experiments.tables.protocols._numbers import of_numbers
from experiments.tables.protocols.census_income import PROTOCOL as USUAL

PROTOCOL = of_numbers(USUAL, SETTLED + NO_FUNNEL)
