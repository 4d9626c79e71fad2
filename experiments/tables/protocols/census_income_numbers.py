"""KDD Census-Income whose numbers keep their value: what embeddings of numbers do.

Numbers in buckets are another data set, so they have a table of their own: `--dataset=census_income
--set=data.options=buckets=256`. So have logarithms: `--set=data.options=numbers=log` with this
protocol. Settings, tuning and test rows are the same in all of them.
"""

from ..protocol import NO_FUNNEL, SETTLED
from ._numbers import of_numbers
from .census_income import PROTOCOL as USUAL

PROTOCOL = of_numbers(USUAL, SETTLED + NO_FUNNEL)
