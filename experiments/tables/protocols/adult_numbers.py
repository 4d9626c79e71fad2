"""UCI Adult whose numbers keep their value: what embeddings of numbers do.

Numbers in buckets have a table of their own, `--dataset=adult`, and so have logarithms,
`--set=data.options=numbers=log` with this protocol.
"""

from ..protocol import NO_FUNNEL, SETTLED
from ._numbers import of_numbers
from .adult import PROTOCOL as USUAL

PROTOCOL = of_numbers(USUAL, SETTLED + NO_FUNNEL)
