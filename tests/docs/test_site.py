"""The whole site: built strictly, complete, and with nothing from elsewhere."""

import html.parser
import importlib
import os
import pathlib
import re
import subprocess
import sys

import api_pages
import pytest
from public_modules import PAGES

from dtn_jax.__main__ import commands
from dtn_jax.config import declarations

ROOT = pathlib.Path(__file__).parents[2]
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
ELEMENT = re.compile(
    "a|article|b|body|button|code|div|footer|form|h[1-6]|head|header|html|input|label|li|"
    "link|main|meta|nav|ol|p|path|pre|script|small|span|strong|svg|table|tbody|td|th|thead|title|"
    "tr|ul"
)

pytestmark = pytest.mark.slow


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
    assert set(commands()) <= Page(site / "commands.html").ids
    assert "usage: dtn-jax train --config" in (site / "commands.html").read_text()
    for name, page in PAGES.items():
        ids = Page(site / f"api/{name}.html").ids
        for module in map(api_pages.full, page.modules):
            assert module in ids
            for public in api_pages.public(importlib.import_module(module)):
                assert f"{module}.{public}" in ids


def test_docstrings_read_as_they_are_written(site):
    """No star of theirs became emphasis, no <word> an element."""
    for path in (site / "api").glob("*.html"):
        assert [tag for tag in Page(path).tags if not ELEMENT.fullmatch(tag)] == [], path.name


def test_search_finds_options_by_name(site):
    index = (site / "search/search_index.json").read_text()
    assert "options.html#train.eval_every" in index
