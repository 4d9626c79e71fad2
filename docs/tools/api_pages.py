"""The pages of the API, of the modules that public_modules.py lists."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
from types import ModuleType

from public_modules import PAGES, Page

LEAST_FOUND = "---\nsearch:\n  boost: 0.5\n---\n"  # other pages come first in a search


def pages() -> dict[str, str]:
    """{path in the site: Markdown}."""
    return {"api/index.md": index(), **{f"api/{n}.md": page(p) for n, p in PAGES.items()}}


def index() -> str:
    parts = [
        "# API\n",
        "What you may import, module by module. A package that is here also gives what it takes "
        "from another module here: `dtn_jax.metrics.Metric`. A module that is not on these pages "
        "may change without notice.\n",
    ]
    for name, shown in PAGES.items():
        parts.append(f"## [{shown.title}]({name}.md) {{ #{name} }}\n\n{shown.words}\n")
        for module in shown.modules:
            line = summary(importlib.import_module(full(module)))
            parts.append(f"- [`{full(module)}`]({name}.md#{full(module)}): {line}")
        parts.append("")
    return "\n".join(parts)


def page(shown: Page) -> str:
    parts = [LEAST_FOUND, f"# {shown.title}\n", f"{shown.words}\n"]
    for module in shown.modules:
        names = public(importlib.import_module(full(module)))
        members = f"[{', '.join(names)}]" if names else "false"
        parts.append(f"::: {full(module)}\n    options:\n      members: {members}\n")
    return "\n".join(parts)


def full(module: str) -> str:
    return f"dtn_jax.{module}"


def public(module: ModuleType) -> list[str]:
    """The names that a listed module gives, in its order: classes, functions, then constants."""
    if hasattr(module, "__all__"):
        return [name for name in module.__all__ if is_code(getattr(module, name))]
    code = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and is_code(value) and value.__module__ == module.__name__
    ]
    return code + constants(module)


def constants(module: ModuleType) -> list[str]:
    """The names of a module that are followed by a docstring."""
    return [
        node.targets[0].id
        for node, after in itertools.pairwise(ast.parse(inspect.getsource(module)).body)
        if isinstance(node, ast.Assign)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    ]


def is_code(value: object) -> bool:
    return inspect.isclass(value) or inspect.isroutine(inspect.unwrap(value))


def summary(module: ModuleType) -> str:
    """The first sentence of a module's docstring."""
    return " ".join((module.__doc__ or "").partition("\n\n")[0].split())
