"""Balancers on the seven labels of KDD Census-Income that disagree."""

from ._balancing import of_balancing

PROTOCOL = of_balancing(
    "configs/census_income.py:tasks=seven",
    ("income", "never_married", "moved", "foreign_born", "self_employed", "union", "bachelor"),
    "The labels are of adults, and disagree.",
    trials=3,
    finalists=1,
)
