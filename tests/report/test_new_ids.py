"""What a description says of the new ids of a set that extends another, against the logs."""

import io
import re

import polars as pl
import pytest
import rich.console
from own_log import SCHEMA, log, prepared

from dtn_jax.datasets.description.describe import describe
from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.report.description.page import as_page
from dtn_jax.report.description.terminal import as_text

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


def printed(found):
    out = io.StringIO()
    console = rich.console.Console(file=out, width=100, force_terminal=False)
    for piece in as_text(found):
        console.print(piece)
    return out.getvalue()


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
    shown = printed(found)
    line = next(line for line in shown.splitlines() if re.match(r"\s*item\s+\d+\s+\d+ .* %", line))
    assert [facts["ids"], facts["new_ids"]] == [int(n) for n in line.split()[1:3]]
    assert share in line
    for text in (shown, as_page(found)):
        assert "New ids" in text
        assert f"The set extends shop, fingerprint {made.fingerprint[:16]}." in text
        assert share in text
    assert "New ids" not in as_page(describe(made))
