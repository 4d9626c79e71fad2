"""All methods on KDD Census-Income's seven labels: see _zoo.py."""

from ._zoo import of_zoo

PROTOCOL = of_zoo("configs/census_income.py:tasks=seven", tasks=7)
