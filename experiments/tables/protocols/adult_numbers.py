"""UCI Adult whose numbers keep their value: what embeddings of numbers do, beside `adult`."""

from experiments.tables.protocol import NO_FUNNEL, SETTLED
from experiments.tables.protocols._numbers import of_numbers
from experiments.tables.protocols.adult import PROTOCOL as USUAL

PROTOCOL = of_numbers(USUAL, SETTLED + NO_FUNNEL)
