"""README and the pages of docs/: headings, pictures, links, spelling."""

import functools
import pathlib
import re

import hooks
import public_modules
import pytest
import repository_pages
from markdown.extensions.toc import slugify, unique

pytestmark = pytest.mark.slow  # needs what builds the site

ROOT = pathlib.Path(__file__).parents[2]
OF_THE_ROOT = [ROOT / name for name in ("README.md", *repository_pages.FILES)]
PAGES = [path for path in (*OF_THE_ROOT, *sorted(ROOT.glob("docs/**/*.md"))) if path.exists()]
MADE = {"options.md", "commands.md", "api/index.md"}
MADE |= {f"api/{name}.md" for name in public_modules.PAGES}

FENCE = re.compile(r"^( *)(```+).*?^\1\2$", re.M | re.S)
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
IZE = (
    "apologi|categori|characteri|critici|customi|emphasi|finali|generali|harmoni|initiali|locali|"
    "maximi|memori|minimi|normali|optimi|organi|parallel?i|parameteri|penali|priori|quanti|"
    "randomi|reali|recogni|regulari|seriali|speciali|standardi|summari|synchroni|tokeni|utili|"
    "vectori|visuali"
)
AMERICAN = re.compile(
    rf"\b(?:un|de|re)?(?:{IZE})z\w*"
    r"|\b(?:behavior|color|favor|neighbor|honor|center|gray|artifact|analyz)\w*"
    r"|\b(?:label|model|cancel|travel)(?:ed|ing)\b"
    r"|\b(?:fulfills?|fulfillments?|catalogs?|cataloged|defenses?|judgments?)\b"
    r"|\b(?:an?|the|its|their|under|of|with|by|whose|MIT|Apache) licenses?\b",  # not the verb
    re.I,
)
TERMS = re.compile(r"\b(?:optimizer|initializer)s?\b", re.I)  # of the field, as they are

named = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


def prose(text: str) -> str:
    """Without code, comments, addresses, and quotations: titles of papers."""
    for code in (FENCE, r"<!--.*?-->", r"`[^`]*`", r"\]\([^)]*\)", r"https?://\S+", r'"[^"]*"'):
        text = re.sub(code, " ", text, flags=re.S) if isinstance(code, str) else code.sub("", text)
    return text


@named
def test_one_heading_names_the_page(path):
    text = FENCE.sub("", path.read_text())
    assert len(re.findall(r"^# \S", text, re.M)) == 1


@named
def test_a_picture_says_what_is_seen_and_has_a_caption(path):
    text = FENCE.sub("", path.read_text())
    for found in PICTURE.finditer(text):
        words, picture = found.groups()
        assert (path.parent / picture).is_file(), picture
        assert len(words.split()) >= 4, f"{picture}: alternative text {words!r}"
        caption = text[found.end() :].strip().partition("\n\n")[0].strip()
        assert re.fullmatch(r"\*[^*].*\*", caption, re.S), f"{picture}: no caption below"


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


def test_anchors_of_a_page():
    text = "# A `b` c\n\n## [D](d.md)\n\n## A b c\n\n### `x.y` { #x.y }\n\n```bash\n# no\n```\n"
    assert anchors(text) == {"a-b-c", "d", "a-b-c_1", "x.y"}


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


@named
def test_spelling_is_british(path):
    words = [found[0] for found in AMERICAN.finditer(prose(path.read_text()))]
    assert not [word for word in words if not TERMS.fullmatch(word)]
