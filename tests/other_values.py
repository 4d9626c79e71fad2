"""Another value of a declared option, so that a new option needs no line in a table of values."""

from dtn_jax.options import Option


def another(option: Option, value: object) -> object:
    """A value that the option may have and that is not `value`.

    Raises:
      LookupError: its declaration does not say which there are: it is text without choices.
    """
    for other in candidates(option, value):
        if other != value and option.allows(other):
            return other
    raise LookupError(f"no other value than {value!r} can be told from {option}")


def candidates(option: Option, value: object) -> list[object]:
    if option.choices:
        return list(option.words)
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, tuple):
        return [(*value, *(value[-1:] or ("other" if option.items is str else 2,)))]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [value + 1, value + 0.25, value / 2]
    return []
