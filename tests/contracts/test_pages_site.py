"""The site: pages that are made, the text of all pages, equations, notebooks, and the whole."""

import ast
import functools
import html.parser
import importlib
import inspect
import json
import os
import pathlib
import re
import subprocess
import sys

import api_pages
import hooks
import options_page
import public_modules
import pytest
import repository_pages
from markdown.extensions.toc import slugify, unique
from public_modules import PAGES

from dtn_jax.cli import COMMANDS
from dtn_jax.config import declarations

pytestmark = pytest.mark.slow  # needs what builds the site

ROOT = pathlib.Path(__file__).parents[2]
MODULES = [(name, api_pages.full(m)) for name, page in PAGES.items() for m in page.modules]


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


def test_every_option_has_a_heading_with_default_and_meaning():
    parts = re.split(r"^##+ ", options_page.page(), flags=re.M)
    entries = {found[1]: part for part in parts if (found := re.match(r"`(.+)` \{ #\1 \}\n", part))}
    for key, found in declarations().items():
        assert f"Default `{found.option.default or repr(found.option.default)}`" in entries[key]
        assert (
            re.sub(r"\W", "", found.option.help).lower() in re.sub(r"\W", "", entries[key]).lower()
        )
        first = found.option.help[:1]
        assert first.isascii() or f"\n{first}" in entries[key], "σ stays small"
    sections = {key.partition(".")[0] for key in declarations() if "." in key}
    assert sections <= set(re.findall(r"^## .* \{ #([a-z]+) \}$", "## ".join(parts), re.M))


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


# ---------------------------------------------------------------- text


OF_THE_ROOT = [ROOT / name for name in repository_pages.FILES]
RECORDS = sorted(ROOT.glob("experiments/results/*.md"))
RECORDS += sorted(ROOT.glob("experiments/results/*/*.md"))
WRITTEN = (*OF_THE_ROOT, *sorted(ROOT.glob("docs/**/*.md")), *sorted(RECORDS))
PATHS = [path for path in WRITTEN if path.exists()]
MADE = {"options.md", "commands.md", "schema.md", "api/index.md"}
MADE |= {f"api/{name}.md" for name in public_modules.PAGES}
FENCE = re.compile(r"^( *)(```+).*?^\1\2$", re.M | re.S)
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
named = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.relative_to(ROOT).as_posix())


def anchors(text: str) -> set[str]:
    """What a link to a page may have behind `#`: its headings, as the site names them."""
    text, found = FENCE.sub("", text), set()
    for heading in re.findall(r"^#+ (.+?)\s*$", text, re.M):
        words, _, own = heading.partition("{ #")
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", words)
        unique(own.rstrip(" }") or slugify(words, "-"), found)  # which it adds to found
    return found | set(re.findall(r"^::: (\S+)", text, re.M))


@functools.cache
def made_pages() -> dict[str, str]:
    return hooks.made_pages()


@named
def test_links_lead_somewhere(path):
    text = FENCE.sub("", path.read_text())
    for target in LINK.findall(text):
        if re.match(r"https?:|mailto:", target):
            continue
        file, _, anchor = target.partition("#")
        place = (path.parent / file).resolve() if file else path
        made = {(ROOT / "docs" / page).resolve(): page for page in MADE}
        assert place.exists() or place in made, target
        if anchor:
            there = place.read_text() if place.exists() else made_pages()[made[place]]
            assert anchor in anchors(there), target


def test_a_link_leads_to_the_sites_page_else_to_the_repository(monkeypatch):
    text = (
        "[a](../experiments/results/tuning.md#x) [b](../Makefile) [c](idea.md) [d](https://e.org)"
    )
    given = text, "docs/results.md", "results.md"
    there = "[a](tables/tuning.md#x) {} [c](idea.md) [d](https://e.org)"
    assert repository_pages.linked(*given) == there.format("b")
    monkeypatch.setattr(repository_pages, "REPOSITORY", "https://h.org/o/n")
    link = "[b](https://h.org/o/n/blob/HEAD/Makefile)"
    assert repository_pages.linked(*given) == there.format(link)


# ---------------------------------------------------------------- notebooks


SAYS = {
    "dtn_on_your_logs": ("dtn_on_your_logs/data/logs/shop", "order@cart", "FLOPs per"),
    "do_your_tasks_disagree": ("noise alone", "evenness", "cosine", "try"),
}
PICTURES = {
    "dtn_on_your_logs": "differences.png",
    "do_your_tasks_disagree": "pictures/importance.png",
}


def test_all_of_them():
    assert {path.stem for path in (ROOT / "docs/notebooks").glob("*.py")} == set(SAYS)
    assert set(repository_pages.DRAWN) == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_its_outputs_are_those_of_its_code(name):
    text = (ROOT / f"docs/notebooks/{name}.py").read_text()
    kept = json.loads((ROOT / repository_pages.KEPT / f"{name}.json").read_text())
    run_again = f"run docs/tools/run_notebooks.py {name}"
    assert kept["code"] == repository_pages.fingerprint(text), run_again
    assert [output["drawn"] for output in kept["outputs"]].count(True) == 1
    printed = "\n".join(line for output in kept["outputs"] for line in output["printed"])
    for words in SAYS[name]:
        assert words in printed
    assert (ROOT / repository_pages.PICTURES / f"{name}.png").stat().st_size < 100_000


@pytest.mark.nightly
@pytest.mark.parametrize("name", SAYS)
def test_it_runs(name, tmp_path, prepared_dir):
    given = {"DTN_NOTEBOOK": "small", "DTN_DATA_DIR": prepared_dir, "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, ROOT / f"docs/notebooks/{name}.py"],
        cwd=tmp_path,
        env=os.environ | given | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for words in SAYS[name]:
        assert words in done.stdout
    assert (tmp_path / name / PICTURES[name]).stat().st_size > 1000
    assert [path.name for path in tmp_path.iterdir()] == [name]


# ---------------------------------------------------------------- the site


LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    call = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    own = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT), "XLA_FLAGS": ""}
    done = subprocess.run(call, cwd=ROOT, env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Page(html.parser.HTMLParser):
    """Of a page: the ids of its elements, what it loads, and its elements' names."""

    def __init__(self, path: pathlib.Path):
        super().__init__()
        self.ids, self.loads, self.tags = set(), [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.add(tag)
        self.ids.add(given.get("id"))
        if tag in LOADED and (target := given.get(LOADED[tag])):
            self.loads.append(target)


def test_pages_load_nothing_from_elsewhere(site):
    for path in site.rglob("*.html"):
        for target in Page(path).loads:
            assert not re.match(r"(https?:)?//", target), f"{path.name}: {target}"
            if path.name != "404.html":  # its addresses begin at the server's root
                assert (path.parent / target.partition("?")[0]).resolve().exists(), target
    for path in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()[\s\"']*(https?:)?//", path.read_text()), path.name


def test_it_has_every_option_command_and_public_name(site):
    assert set(declarations()) <= Page(site / "options.html").ids
    assert set(COMMANDS) <= Page(site / "commands.html").ids
    assert "usage: dtn-jax train" in (site / "commands.html").read_text()
    for name, page in PAGES.items():
        ids = Page(site / f"api/{name}.html").ids
        for module in map(api_pages.full, page.modules):
            assert module in ids
            for public in api_pages.public(importlib.import_module(module)):
                assert f"{module}.{public}" in ids


def test_each_claim_leads_to_its_table(site):
    """The table behind each row of claims is one click away."""
    text = (site / "results.html").read_text()
    claims = text.partition('<h2 id="claims">')[2].partition("<h2")[0].split("<tr>")[2:]
    assert len(claims) > 12
    for claim in claims:
        found = re.findall(r'href="(tables/[^"#]+)', claim)
        assert found, claim
        assert all("<table" in (site / target).read_text() for target in found)
