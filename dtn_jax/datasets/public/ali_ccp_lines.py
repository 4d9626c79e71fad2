r"""Ali-CCP's lines: their forms, as SQL, and the account of damaged ones.

A skeleton line is `sample_id,click,conversion,common_index,n,features`, a line of common features
`common_index,n,features`, with `features` n times `field \x02 id \x03 value`, joined by `\x01`.
The released reader of DTN's authors writes `sample_id,click,conversion` and then for each of
FIELDS `field:id#id#...`, or `field:0` where it is missing; it drops the values.

Malformed lines are counted by reason; whatever can be used of them is used.
"""

from __future__ import annotations

import dataclasses
import pathlib

import duckdb

from dtn_jax.datasets.public.raw_tables import read_text
from dtn_jax.errors import UserError

SKELETON, COMMON, RELEASED = "sample_skeleton_{}.csv", "common_features_{}.csv", "{}_data.csv"
# In the order of the released reader.
# fmt: off
FIELDS = (
    "101", "109_14", "110_14", "127_14", "150_14", "121", "122", "124", "125", "126", "127", "128",
    "129", "205", "206", "207", "210", "216", "508", "509", "702", "853", "301",
)
# fmt: on
BAGS = ("109_14", "110_14", "127_14", "150_14", "210", "853")
CROSSES = ("508", "509", "702")
SHOWN = 60  # characters of a damaged line
MARK = "ï»¿"  # that some editors begin a file with, as latin-1 has it

UNKNOWN = "a field that is not one of the 23"
NO_INDEX, NOT_FOUND = "no common_index", "its common_index has no line of common features"
TWICE = "the common_index of an earlier line"
IN_PART = (UNKNOWN, NO_INDEX, NOT_FOUND)  # what leaves a skeleton's line in

ID = r"\d{1,18}"
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,2})?"
FEATURES = rf"(?:FIELD\x02{ID}\x03{NUMBER}(?:\x01|$))*"
KNOWN = FEATURES.replace("FIELD", f"(?:{'|'.join(FIELDS)})")
ANY = FEATURES.replace("FIELD", r"[^\x01\x02\x03]*")
PLACES = ",".join(rf"{field}:{ID}(?:#{ID})*" for field in FIELDS)
# SQL of the first thing that is wrong with a line, a list `v` of values; NULL where nothing is.
LABELLED = f"""
    WHEN v[1] = '' THEN 'no sample_id'
    WHEN NOT regexp_full_match(v[1], '{ID}')
        THEN 'sample_id is not a whole number of at most 18 digits'
    WHEN v[2] NOT IN ('0', '1') THEN 'click is not 0 or 1'
    WHEN v[3] NOT IN ('0', '1') THEN 'conversion is not 0 or 1'
"""
FEATURED = f"""
    WHEN NOT regexp_full_match(v[-2], '{ID}') THEN 'the number of features is not a whole number'
    WHEN v[-2]::BIGINT <> if(v[-1] = '', 0, len(string_split(v[-1], chr(1))))
        THEN 'the number of features is wrong'
    WHEN regexp_full_match(v[-1], '{KNOWN}') THEN NULL
    WHEN regexp_full_match(v[-1], '{ANY}') THEN '{UNKNOWN}'
    ELSE 'a feature that is not a field, an id of at most 18 digits and a number'
"""
WRONG = {
    SKELETON: f"WHEN len(v) <> 6 THEN 'not 6 columns' {LABELLED} {FEATURED}",
    COMMON: f"""
        WHEN len(v) <> 3 THEN 'not 3 columns'
        WHEN v[1] = '' THEN 'an empty common_index' {FEATURED}
    """,
    RELEASED: f"""
        WHEN len(v) <> {len(FIELDS) + 3} THEN 'not {len(FIELDS) + 3} columns' {LABELLED}
        WHEN NOT regexp_full_match(array_to_string(v[4:], ','), '{PLACES}')
            THEN 'a column that does not hold its field and ids'
    """,
}
# SQL of what a line has beside its fields; `index` is that of its common features.
SAMPLE = "v[1]::BIGINT AS sample_id, v[2] = '1' AS click, v[3] = '1' AS conversion"
HEADS = {
    SKELETON: f"{SAMPLE}, v[4] AS index",
    COMMON: "v[1] AS index",
    RELEASED: f"{SAMPLE}, NULL::VARCHAR AS index",
}


@dataclasses.dataclass
class Damage:
    """The account of a file.

    Attributes:
      path: of the file.
      lines: how many there are.
      reasons: {reason: (lines, the number of the first, how that one begins)}.
    """

    path: pathlib.Path
    lines: int
    reasons: dict[str, tuple[int, int, str]]

    def facts(self) -> dict[str, object]:
        """For the set's notes; `limited` are the lines that the option `damaged` limits."""
        found = self.reasons.items()
        return {
            "lines": self.lines,
            "left_out": sum(count for reason, (count, *_) in found if reason not in IN_PART),
            "limited": sum(count for reason, (count, *_) in found if reason != UNKNOWN),
            "damage": self.reasons,
        }

    def account(self) -> list[str]:
        """A line of text for each reason, the most frequent first."""
        return [
            f"{self.path.name}: {count:,} of {self.lines:,} lines "
            f"{'used in part' if reason in IN_PART else 'skipped'}: {reason}; the first is line "
            f"{first}: {begins!r}"
            for reason, (count, first, begins) in sorted(
                self.reasons.items(), key=lambda item: -item[1][0]
            )
        ]

    def check(self, percent: int) -> None:
        """Raises UserError if no line is left, or more than `percent` of them are damaged."""
        if problem := too_many(self.facts(), percent):
            raise UserError(f"{self.path}: {problem}. {' '.join(self.account())}")
        if self.facts()["left_out"] == self.lines:
            raise UserError(f"{self.path} holds no well-formed line. {' '.join(self.account())}")


def too_many(facts: dict, percent: int) -> str:
    """The problem with so many damaged lines, or '' if they are allowed."""
    if facts["limited"] * 100 <= percent * facts["lines"]:
        return ""
    return (
        f"{facts['limited']:,} of {facts['lines']:,} lines are damaged; at most {percent} % may be "
        "(option damaged)"
    )


def read(database: duckdb.DuckDBPyConnection, form: str, path: pathlib.Path, most: int) -> Damage:
    """Makes a table of a file, `common` or `impressions`: what HEADS has, and the fields, NULL
    where a line is left out.

    Of most fields it holds an id, of BAGS and CROSSES a list of `{id, weight}`; and as `n` and the
    field's name, how many there are before a bag is cut to `most`.
    """
    table = "common" if form == COMMON else "impressions"
    good = f"wrong IS NULL OR wrong = '{UNKNOWN}'"
    lines = read_text(
        database,
        table,
        path,
        f"""
        SELECT wrong, begins, {HEADS[form]}, {", ".join(_fields(form, most))}
        FROM (SELECT *, chr(1) || v[-1] AS features FROM (
            SELECT wrong, if(wrong IS NOT NULL, left(text, {SHOWN + 1}), NULL) AS begins,
                if({good}, v, NULL) AS v
            FROM (SELECT *, CASE {WRONG[form]} END AS wrong FROM (
                SELECT *, string_split(text, ',') AS v
                FROM (SELECT ltrim(text, '{MARK}') AS text FROM lines)))))
        """,
        encoding="latin-1",  # all that is of use is ASCII
    )
    return Damage(path, lines, _reasons(database, f"SELECT wrong, rowid, begins FROM {table}"))


def _fields(form: str, most: int) -> list[str]:
    """SQL of the columns of the fields."""
    columns = []
    for n, field in enumerate(FIELDS):
        values = f"string_split(features, '\x01{field}\x02')[2:]"  # each with what follows it
        first = rf"regexp_extract(features, '\x01{field}\x02(\d+)', 1)"
        pair = r"regexp_extract(x, '^(\d+)\x03([^\x01]*)', ['id', 'weight'])"
        if form == RELEASED:
            values = f"string_split(substr(v[{n + 4}], {len(field) + 2}), '#')"
            values = f"list_filter({values}, lambda x: x <> '0')"
            first, pair = f"{values}[1]", "{'id': x, 'weight': '1'}"
        if field in (*BAGS, *CROSSES):
            kept = f"{values}[:{most if field in BAGS else 1}]"
            pairs = f"list_transform({kept}, lambda x: {pair})"
            columns.append(f'{pairs}::STRUCT(id BIGINT, weight FLOAT)[] AS "{field}"')
            columns.append(f'len({values}) AS "n{field}"')
        else:
            columns.append(f'try_cast({first} AS BIGINT) AS "{field}"')
    return columns


def match(database: duckdb.DuckDBPyConnection, skeleton: Damage, common: Damage) -> None:
    """Leaves of the table `common` the first line of each index, and adds to the accounts the
    others, and the impressions without common features."""
    twice = (
        "SELECT index, rowid AS line, row_number() OVER (PARTITION BY index ORDER BY rowid) AS n"
    )
    twice = f"FROM ({twice} FROM common WHERE index IS NOT NULL) WHERE n > 1"
    query = f"SELECT '{TWICE}', line, index {twice}"
    common.reasons |= _reasons(database, query)
    database.execute(f"DELETE FROM common WHERE index IS NULL OR rowid IN (SELECT line {twice})")
    begins = "concat_ws(',', sample_id, click::INT, conversion::INT, index)"
    reason = f"if(index = '', '{NO_INDEX}', '{NOT_FOUND}')"
    query = f"SELECT {reason}, impressions.rowid, {begins} FROM impressions ANTI JOIN common "
    skeleton.reasons |= _reasons(database, query + "USING (index) WHERE index IS NOT NULL")


def _reasons(database: duckdb.DuckDBPyConnection, query: str) -> dict[str, tuple[int, int, str]]:
    """As of `Damage`; the query gives reasons, NULL where there is none, rowids and beginnings."""
    found = database.sql(
        f"SELECT reason, count(*), min(line) + 1, arg_min(begins, line) FROM ({query}) "
        "AS wrong(reason, line, begins) WHERE reason IS NOT NULL GROUP BY reason ORDER BY 3"
    )
    return {
        reason: (count, first, begins if len(begins) <= SHOWN else f"{begins[:SHOWN]}…")
        for reason, count, first, begins in found.fetchall()
    }
