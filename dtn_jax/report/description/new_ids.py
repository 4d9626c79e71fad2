"""What a description says of a set that extends another: how many ids of its train are new."""

from __future__ import annotations

from dtn_jax.data.describe.describe import Description
from dtn_jax.data.progress import percent
from dtn_jax.report.description.grid import Grid
from dtn_jax.report.description.section import Section

HEADER = ("field", "ids", "new ids", "share", "with a row", "values\nof new ids", "fallen out")
NOTE = (
    "Ids and values of train, before rare ones become the unknown id; fields that share a table "
    "are counted together. With a row: the new ids that are frequent enough (min_count). Fallen "
    "out: ids of the older set that train does not have; they keep their rows."
)


def new_ids(found: Description) -> Section | None:
    notes = found.notes.get("extends")
    if not notes:
        return None
    rows = [
        (
            ", ".join(f.name for f in found.schema.fields if f.table == table),
            f"{facts['ids']:,}",
            f"{facts['new_ids']:,}",
            percent(facts["new_ids"], facts["ids"]),
            f"{facts['added']:,}",
            percent(facts["new_values"], facts["values"]),
            f"{facts['fallen_out']:,}",
        )
        for table, facts in notes["ids"].items()
    ]
    older, *before = notes["sets"]
    texts = [f"The set extends {older['name']}, fingerprint {older['fingerprint'][:16]}."]
    if before:
        names = ", ".join(f"{one['name']} ({one['fingerprint'][:16]})" for one in before)
        texts.append(f"That one extends {names}.")
    grids = [Grid(HEADER, rows, note=NOTE, shown=len(rows))] if rows else ()
    return Section("New ids", texts, grids)
