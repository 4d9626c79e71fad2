"""Balancers on the synthetic funnel, whose tasks differ: divergence 0.75."""

from ._balancing import of_balancing

PROTOCOL = of_balancing(
    "configs/synthetic.py",
    ("click", "cart", "order"),
    "The tasks depend on different fields: divergence 0.75.",
    trials=3,
    finalists=1,
    common={"data.options": "rows=200000,divergence=0.75"},
)
