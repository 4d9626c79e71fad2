"""In the API's signatures an option shows its default, not its declaration: the page of options has
that."""

from __future__ import annotations

import griffe


class OptionDefaults(griffe.Extension):
    """`layers: int = option(2, "gated cross layers")` is shown as `layers: int = 2`."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: object) -> None:
        value = attr.value
        if isinstance(value, griffe.ExprCall) and str(value.function) == "option":
            attr.value = value.arguments[0]
