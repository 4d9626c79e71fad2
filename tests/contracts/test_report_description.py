"""A description's page and its terminal tables: safe, whole and within their width."""

import html.parser
import re

import polars as pl
import pytest
import shop
from console_text import as_shown
from own_log import SCHEMA, log
from world.log import prepared

from dtn_jax.cli.description import FIRST, sections, texts
from dtn_jax.data.describe.describe import describe
from dtn_jax.data.prepare import prepare
from dtn_jax.report.sections import page as page_of
from dtn_jax.report.sections import terminal

NASTY = ("<script>alert(1)</script>", "$x_1^2$", "[bold]red[/]", "long_" * 20, "`a` **b**")


@pytest.fixture(scope="module")
def nasty(tmp_path_factory):
    """The description of a log whose fields have names that would do harm, and a leak."""
    lines = "".join(f'  "{name}": {{column: item}}\n' for name in NASTY)
    lines += '  "<img src=x>": {column: bought}\n'
    schema = SCHEMA.replace("tasks:", f"{lines}tasks:")
    frame = log()
    frame = frame.with_columns(bought=frame["order"])
    return describe(prepared(tmp_path_factory.mktemp("nasty"), frame, schema))


class Tags(html.parser.HTMLParser):
    """All tags of a page with their attributes, and the texts between them."""

    def __init__(self, page):
        super().__init__()
        self.found, self.texts, self.open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def as_page(found):
    return page_of(found.data.schema.name, sections(found, drawn=True))


def printed(found, width=80):
    return as_shown(*terminal(sections(found), width), width=width, force_terminal=False)


def test_the_page_needs_no_network_and_runs_nothing(nasty):
    page = as_page(nasty)
    tags = Tags(page)
    assert "http" not in page
    assert "//" not in re.sub(r'src="data:[^"]*"', "", page)
    assert "script" not in [tag for tag, _ in tags.found]
    pictures = [attributes for tag, attributes in tags.found if tag == "img"]
    assert len(pictures) == 1
    assert all(p["src"].startswith("data:image/png;base64,iVBOR") and p["alt"] for p in pictures)
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in (
        tags.found
    )
    assert {*NASTY, "<img src=x>"} <= set(tags.texts)  # as they are called
    assert not tags.open
    wide = sum(("class", "wide") in attributes.items() for _, attributes in tags.found)
    assert wide == sum(tag == "table" for tag, _ in tags.found) > 8


def test_what_to_look_at_comes_first(nasty):
    """In the page; in a terminal, whose end is seen, it comes last."""
    (remark,) = (remark for remark in texts(nasty)[FIRST] if "leak" in remark)
    what = "suspected leak: <img src=x> tells order@all"
    assert remark.startswith(what)
    assert "AUC of 1.0000" in remark
    words = Tags(as_page(nasty)).texts
    assert words.index(remark) < words.index("Rows")
    assert what in printed(nasty).partition("What to look at first")[2].replace("\n", " ")


def test_the_suspects_alone_are_listed(nasty, tmp_path):
    def listed(shown):
        return shown.partition("Suspects of leaks")[2].partition("Drift")[0]

    shown = listed(printed(nasty))
    assert "<img src=x>" in shown
    assert "speed" not in shown
    clean = describe(prepared(tmp_path, log(4000), SCHEMA))
    for text in (printed(clean), as_page(clean)):
        assert "No suspects." in listed(text)
        assert "user" not in listed(text)


def test_the_terminal_has_80_columns(nasty):
    shown = printed(nasty)
    assert max(map(len, shown.splitlines())) <= 80
    for text in (
        "12,000 rows were read",
        "validation from 2026-03-09",
        "click@all",
        "$x_1^2$",
        "[bold]red[/]",
    ):
        assert text in shown
    assert "…" not in shown.replace("… and", "")  # no number is cut off
    assert re.search(r"(stable|some|strong) \d\.\d{3}\s", shown)
    assert "e-0" not in shown.partition("Drift")[2].partition("Repeated rows")[0]


def test_a_set_without_days_or_leaks_says_less(tmp_path):
    found = describe(shop.prepare(shop.shop_splits(), tmp_path))
    shown, page = printed(found), as_page(found)
    for text in ("Days", "Suspects", "Pairs", "cut\n"):
        assert text not in shown
        assert f">{text}" not in page
    assert "Missing labels" in shown
    assert "seconds" in shown
    assert "<img" not in page


# ---------------------------------------------------------------- new ids


BY_COLUMN = SCHEMA.replace("  item: {min_count: 2}", "  item:") + "split: {by: column, column: p}\n"


def part(frame, new=0):
    """A log whose rows from the middle on have other items; a third is not in train."""
    place = pl.int_range(pl.len())
    parts = pl.when(place % 6 == 0).then(pl.lit("validation"))
    parts = parts.when(place % 6 == 1).then(pl.lit("test")).otherwise(pl.lit("train"))
    moved = pl.when(place >= pl.len() // 2).then(pl.col("item") + new).otherwise("item")
    return frame.with_columns(p=parts, item=moved)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new_ids")
    old, new = part(log(2000)), part(log(1000, seed=1), new=1000)
    made = prepared(folder, old, BY_COLUMN)
    later = folder / "later.yaml"
    later.write_text(BY_COLUMN.replace("name: shop", "name: later"))
    return old, new, made, prepare(later, new, folder / "data", extend="shop")


def test_new_ids_are_counted_as_the_logs_have_them(sets):
    old, new, _, data = sets
    was, now = (frame.filter(p="train") for frame in (old, new))
    known = set(was["item"])
    others = now.filter(~pl.col("item").is_in(list(known)))
    assert data.notes["extends"]["ids"]["item"] == {
        "ids": now["item"].n_unique(),
        "values": len(now),
        "new_ids": others["item"].n_unique(),
        "new_values": len(others),
        "added": others["item"].n_unique(),
        "fallen_out": len(known - set(now["item"])),
    }
    users = now["user"].value_counts().filter(~pl.col("user").is_in(was["user"].unique()))
    facts = data.notes["extends"]["ids"]["user"]
    rare = set(was["user"].value_counts().filter(pl.col("count") < 2)["user"])  # had no row
    assert facts["new_ids"] == len(users) + len(rare & set(now["user"]))
    assert facts["added"] < facts["new_ids"]


def test_a_description_shows_them_in_the_terminal_and_in_the_page(sets):
    _, _, made, data = sets
    found = describe(data)
    facts = data.notes["extends"]["ids"]["item"]
    share = f"{100 * facts['new_values'] / facts['values']:.1f} %"
    shown = printed(found, width=100)
    line = next(line for line in shown.splitlines() if re.match(r"\s*item\s+\d+\s+\d+ .* %", line))
    assert [facts["ids"], facts["new_ids"]] == [int(n) for n in line.split()[1:3]]
    assert share in line
    for text in (shown, as_page(found)):
        assert "New ids" in text
        assert f"The set extends shop, fingerprint {made.fingerprint[:16]}." in text
        assert share in text
    assert "New ids" not in as_page(describe(made))
