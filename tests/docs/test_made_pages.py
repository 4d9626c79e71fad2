"""Pages that are made: every option and every public name has its place."""

import ast
import functools
import importlib
import inspect
import pathlib
import re
import textwrap

import api_pages
import options_page
import pytest
import repository_pages
from public_modules import PAGES

from dtn_jax.config import declarations

pytestmark = pytest.mark.slow  # needs what builds the site

ROOT = pathlib.Path(__file__).parents[2]
MODULES = [(name, api_pages.full(m)) for name, page in PAGES.items() for m in page.modules]
LISTED = {module for _, module in MODULES}
TEXTS = [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
SCRIPTS = [*ROOT.glob("docs/examples/*.py"), *ROOT.glob("docs/notebooks/*.py")]
BLOCK = re.compile(r"^( *)```python.*?\n(.*?)^\1```$", re.M | re.S)


def defined(module):
    """{name: its docstring}, of the public classes and functions in a module's source."""
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    kinds = (ast.FunctionDef, ast.ClassDef)
    nodes = [node for node in tree.body if isinstance(node, kinds)]
    return {node.name: ast.get_docstring(node) for node in nodes if node.name[0] != "_"}


def is_method(value):
    return inspect.isroutine(value) or isinstance(value, property | functools.cached_property)


def untold(cls):
    """The public methods and properties of a class that neither it nor a base describes."""
    own = [n for n, v in vars(cls).items() if is_method(v) and (n[0] != "_" or n == "__call__")]
    told = [{n for n, v in vars(c).items() if is_method(v) and v.__doc__} for c in cls.__mro__]
    return [f"{cls.__name__}.{name}" for name in own if name not in set.union(*told)]


def imported():
    """(file, module, name), of what pages and their examples import; '' is the module itself."""
    parts = [(path.name, path.read_text()) for path in SCRIPTS]
    for path in TEXTS:
        blocks = BLOCK.findall(path.read_text())
        parts += [(path.name, textwrap.dedent(block)) for _, block in blocks]
    for file, code in parts:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Import):
                yield from ((file, alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((file, node.module, alias.name) for alias in node.names)


def is_public(module, name):
    if f"{module}.{name}".strip(".") in LISTED:
        return True
    if module not in LISTED:
        return False
    home = getattr(getattr(importlib.import_module(module), name), "__module__", module)
    sources = {module, home} & LISTED  # a package may pass it on
    return any(name in api_pages.public(importlib.import_module(each)) for each in sources)


def test_every_option_has_a_heading_with_default_and_meaning():
    parts = re.split(r"^##+ ", options_page.page(), flags=re.M)
    entries = {found[1]: part for part in parts if (found := re.match(r"`(.+)` \{ #\1 \}\n", part))}
    for key, found in declarations().items():
        assert f"Default `{found.option.default or repr(found.option.default)}`" in entries[key]
        assert (
            re.sub(r"\W", "", found.option.help).lower() in re.sub(r"\W", "", entries[key]).lower()
        )
    sections = {key.partition(".")[0] for key in declarations() if "." in key}
    assert sections <= set(re.findall(r"^## .* \{ #([a-z]+) \}$", "## ".join(parts), re.M))


def test_options_stand_below_whose_they_are():
    page = options_page.page()
    dtn = page.partition("## Options of `dtn` {")[2].partition("\n## ")[0]
    assert "### `model.fusion`" in dtn
    assert "### `model.dtn.tsn`" in dtn
    assert "### `model.ple" not in dtn


def test_help_reads_as_it_is_written():
    assert options_page.prose("a '*b*' of *c*, d_e <f>") == r"a `*b*` of \*c\*, d\_e &lt;f&gt;"
    assert options_page.prose("the set's, or the data's; '' is $X") == (
        "the set's, or the data's; `''` is \\$X"
    )


@pytest.mark.parametrize(("page", "module"), MODULES, ids=[module for _, module in MODULES])
def test_public_names_are_shown_and_say_what_they_are(page, module):
    text = api_pages.page(PAGES[page])
    block = text.partition(f"::: {module}\n")[2].partition("\n:::")[0]
    shown = re.search(r"members: (?:false|\[(.*)\])", block)[1] or ""
    assert set(defined(module)) <= {name.strip() for name in shown.split(",")}
    assert [name for name, told in defined(module).items() if not told] == []
    found = importlib.import_module(module)
    assert found.__doc__
    classes = filter(inspect.isclass, (getattr(found, name) for name in api_pages.public(found)))
    assert [name for each in classes for name in untold(each)] == []


def test_pages_import_public_names_alone():
    found = [each for each in imported() if each[1].split(".")[0] in ("dtn_jax", "experiments")]
    assert ("README.md", "dtn_jax.models.architectures", "Architecture") in found
    assert ("dtn_on_your_logs.py", "dtn_jax.export", "") in found
    assert [each for each in found if not is_public(*each[1:])] == []


def test_names_in_the_text_of_pages_are_public():
    pages = "".join(path.read_text() for path in TEXTS)
    found = set(re.findall(r"`(dtn_jax(?:\.\w+)+)", pages))
    assert "dtn_jax.export.write.export_run" in found
    assert [name for name in sorted(found) if not is_public(*name.rpartition(".")[::2])] == []


def test_a_name_that_a_package_passes_on_is_shown():
    assert "load" in api_pages.public(importlib.import_module("dtn_jax.export"))
    assert "Metric" not in api_pages.public(importlib.import_module("dtn_jax.metrics"))


def test_links_of_the_roots_files_are_those_of_the_site():
    text = "[a](docs/b.md#x), [c](CHANGELOG.md), [d](Makefile), [e](https://f.g), ![h](docs/i.png)"
    assert repository_pages.mended(text) == (
        "[a](b.md#x), [c](changelog.md), d, [e](https://f.g), ![h](i.png)"
    )


def test_links_of_pages_to_files_that_are_pages():
    text = "[a](../../CONTRIBUTING.md#x), [b](../CHANGELOG.md), [c](notebooks/n.py), [d](e.md)"
    assert repository_pages.linked(text) == (
        "[a](../contributing.md#x), [b](changelog.md), [c](notebooks/n.md), [d](e.md)"
    )


def test_a_notebook_is_a_page():
    words, code = "# %% [markdown]\n# # Title\n#\n# Words.\n\n", "# %%\nx = 1\nprint(x)\n\n"
    cells = repository_pages.cells(f"{words}{code}# %%\ny = 2\n\n# %% [markdown]\n# End.\n")
    name, (seen, caption) = next(iter(repository_pages.DRAWN.items()))
    outputs = [{"printed": ["1"], "drawn": False}, {"printed": [], "drawn": True}]
    expected = (
        "# Title\n\nWords.\n\n```python\nx = 1\nprint(x)\n```\n\n``` {.text .printed}\n1\n```\n\n"
        f"```python\ny = 2\n```\n\n![{seen}](../pictures/{name}.png)\n\n*{caption}*\n\nEnd."
    )
    assert repository_pages.shown(cells, outputs, name) == expected


def test_a_long_output_is_folded_but_for_its_last_lines():
    lines = [str(i) for i in range(repository_pages.LONG + 1)]
    first, last = repository_pages.folded(lines).split("\n\n``` ")
    assert first.startswith('??? quote "The first 51 lines"\n\n    ``` ')
    assert first.endswith("\n    49\n    50\n    ```")
    assert last.endswith("}\n" + "\n".join(lines[-10:]) + "\n```")
    assert repository_pages.folded(lines[1:]).startswith("``` ")
