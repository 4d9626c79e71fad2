"""All methods on UCI Adult: see _zoo.py."""

from ._zoo import of_zoo

PROTOCOL = of_zoo("configs/adult.py", tasks=2)
