"""Balancers on KuaiRand: click, long view, and four rare tasks."""

from ._balancing import of_balancing

PROTOCOL = of_balancing(
    "configs/kuairand.py",
    ("click", "long_view", "profile_enter", "comment", "forward", "follow"),
    "Trials and states are chosen by the mean of click and long_view.",
    trials=3,
    finalists=1,
    tested=("click", "long_view"),
)
