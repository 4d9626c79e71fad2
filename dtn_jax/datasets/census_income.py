"""KDD Census-Income (1994/95), official splits: the benchmark of the MMoE and PLE papers.

Reads, from `<manual_dir>/census_income`, either `train.parquet` and `test.parquet` or UCI's
`census-income.data` and `census-income.test` (plain or `.gz`); without them it downloads UCI's
archive. Whatever the source, the rows are verified against the official table's SHA-256.

census_income.yaml says what becomes of them; with `tasks=seven` it is census_income_seven.yaml.
"""

from __future__ import annotations

import gzip
import hashlib
import pathlib
import shutil
import tarfile
import zipfile
import zlib
from typing import ClassVar

import polars as pl

from dtn_jax.datasets.data_set import DataSet
from dtn_jax.datasets.preparation import kept_numbers, progress
from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.datasets.preparation.download import (
    Bounded,
    discard,
    discarded_if_wrong,
    unpacked,
)
from dtn_jax.datasets.preparation.hold_out import hold_out
from dtn_jax.datasets.preparation.kept_numbers import NUMBERS
from dtn_jax.errors import UserError, listed
from dtn_jax.options import Option

URL = "https://archive.ics.uci.edu/static/public/117/census+income+kdd.zip"
ARCHIVE_MEMBER = "census.tar.gz"  # inside the zip; holds the two raw files
RAW = {"train": "census-income.data", "test": "census-income.test"}
INSTEAD = (
    "give data.manual_dir (or $DTN_MANUAL_DIR), a folder whose folder "
    f"census_income holds {' and '.join(RAW.values())}"
)
VALIDATION = 0.1  # of UCI's train split, by a fixed seed
VALIDATION_SEED = 1995
ADULT = 18  # years

# Rows and SHA-256 of the official splits: of all columns but instance_weight, as text, values
# joined by "," and rows ended by "\n".
OFFICIAL = {
    "train": (199_523, "54caf6039d442aa2b21e1c110e94ccdc574ca7f195bc36917423882206be3132"),
    "test": (99_762, "b70f3913a8b46dcebaa078797d3439f36521e71d073c37d124c116148349fbeb"),
}

# fmt: off
COLUMNS = (
    "age", "class_worker", "det_ind_code", "det_occ_code", "education", "wage_per_hour",
    "hs_college", "marital_stat", "major_ind_code", "major_occ_code", "race", "hisp_origin",
    "sex", "union_member", "unemp_reason", "full_or_part_emp", "capital_gains",
    "capital_losses", "stock_dividends", "tax_filer_stat", "region_prev_res", "state_prev_res",
    "det_hh_fam_stat", "det_hh_summ", "instance_weight", "mig_chg_msa", "mig_chg_reg",
    "mig_move_reg", "mig_same", "mig_prev_sunbelt", "num_emp", "fam_under_18", "country_father",
    "country_mother", "country_self", "citizenship", "own_or_self", "vet_question",
    "vet_benefits", "weeks_worked", "year", "income_50k",
)
# fmt: on
WEIGHT = "instance_weight"
DAMAGED = (OSError, EOFError, zlib.error)  # what reading a damaged compressed file raises
NUMERIC = (
    "age",
    "wage_per_hour",
    "capital_gains",
    "capital_losses",
    "stock_dividends",
    "num_emp",
    "weeks_worked",
)


class CensusIncome(DataSet):
    """KDD Census-Income: income above 50K, and never married (39 fields, 299,285 rows).

    With `tasks=seven`: seven labels of adults that disagree (15 fields, 215,574 rows).
    """

    name = "census_income"
    url = URL
    layout = Layout(lanes=32, block_rows=128)
    OPTIONS: ClassVar = {
        "buckets": Option(64, "quantile buckets of a numeric field", least=2, most=1_000_000),
        "numbers": NUMBERS,
        "tasks": Option(
            "two",
            "two: income, never married; seven: of adults, labels that disagree",
            choices=("two", "seven"),
        ),
    }
    FIELD_OPTIONS: ClassVar = ("buckets", "numbers")

    def variant(self):
        kept = kept_numbers.variant(self.own.numbers) or f"buckets{self.own.buckets}"
        return kept if self.own.tasks == "two" else f"{self.own.tasks}_{kept}"

    def schema_text(self):
        suffix = ".yaml" if self.own.tasks == "two" else f"_{self.own.tasks}.yaml"
        text = pathlib.Path(__file__).with_name(self.name + suffix).read_text()
        return kept_numbers.in_schema(text, self.own.numbers, self.own.buckets)

    def raw(self, files):
        """The rows; who validates among adults also does among all."""
        found = locate(self.manual_dir / self.name) if self.manual_dir else None
        if found is None:
            archive = self.archive(INSTEAD)
            found = unpack(archive, unpacked(archive), self.url)
            with discarded_if_wrong(archive, self.url):
                frames = read_all(found)
        else:
            frames = read_all(found)
        train, validation = hold_out(frames["train"], VALIDATION, VALIDATION_SEED)
        splits = {"train": train, "validation": validation, "test": frames["test"]}
        if self.own.tasks == "two":
            return splits
        return {split: rows.filter(pl.col("age") >= ADULT) for split, rows in splits.items()}


def locate(folder: pathlib.Path) -> dict[str, pathlib.Path] | None:
    """The raw pair in `folder`, {split: path}; None, with a message, if it holds no such file."""
    found = {}
    for split, name in RAW.items():
        candidates = [folder / f"{split}.parquet", folder / name, folder / f"{name}.gz"]
        found[split] = next((p for p in candidates if p.exists()), None)
    if not any(found.values()):
        progress.say(f"{folder} holds no raw files.")
        return None
    for split, path in found.items():
        if path is None:
            raise UserError(
                f"{folder} lacks the {split} split: expected {split}.parquet, {RAW[split]} "
                f"or {RAW[split]}.gz"
            )
    return found


def read_all(files: dict[str, pathlib.Path]) -> dict[str, pl.DataFrame]:
    """The raw rows of each split, checked to be the published ones."""
    return {split: read(path, *OFFICIAL[split]) for split, path in files.items()}


def unpack(archive: pathlib.Path, folder: pathlib.Path, url: str) -> dict[str, pathlib.Path]:
    """Unpacks UCI's zip with a tar.gz with the raw pair; discards a damaged archive."""
    folder.mkdir(exist_ok=True)
    try:
        with (
            zipfile.ZipFile(archive) as outer,
            outer.open(ARCHIVE_MEMBER) as member,
            gzip.open(member) as packed,
            tarfile.open(fileobj=Bounded(packed), mode="r|") as inner,
        ):
            for entry in inner:
                name = pathlib.PurePosixPath(entry.name).name
                if entry.isfile() and name in RAW.values():
                    with (folder / name).open("wb") as file:
                        shutil.copyfileobj(inner.extractfile(entry), file)
    except (zipfile.BadZipFile, tarfile.TarError, KeyError, RuntimeError, *DAMAGED) as error:
        problem = f"cannot be unpacked ({error})"
    else:
        lacking = [name for name in RAW.values() if not (folder / name).exists()]
        if not lacking:
            return {split: folder / name for split, name in RAW.items()}
        problem = f"lacks {' and '.join(lacking)}"
    discard(archive)
    raise UserError(
        f"the archive from {url} {problem}; it was discarded, and the next run downloads it again"
    )


def read(path: pathlib.Path, rows: int, sha256: str) -> pl.DataFrame:
    """One raw file as a frame of text and whole numbers.

    Raises:
      UserError: the file is damaged, has other columns, or is not the official split.
    """
    frame = read_parquet(path) if path.suffix == ".parquet" else read_text(path)
    missing = [c for c in COLUMNS if c not in frame.columns]
    if missing:
        raise UserError(
            f"{path}: column {missing[0]!r} is missing; the columns are: {listed(frame.columns)}"
        )
    types = {c: pl.Int64 if c in (*NUMERIC, WEIGHT) else pl.String for c in COLUMNS}
    frame = frame.select(COLUMNS).cast(types)
    if len(frame) != rows:
        raise UserError(
            f"{path}: {len(frame)} rows, but the official split has {rows}; is it truncated?"
        )
    if digest(frame) != sha256:
        raise UserError(
            f"{path}: the rows differ from the official split's (SHA-256 {sha256[:12]}…)"
        )
    return frame


def digest(frame: pl.DataFrame) -> str:
    """The SHA-256 of OFFICIAL's definition."""
    text = frame.select(
        pl.concat_str([pl.col(c).cast(pl.String) for c in COLUMNS if c != WEIGHT], separator=",")
    ).to_series()
    return hashlib.sha256("".join(f"{row}\n" for row in text).encode()).hexdigest()


def read_parquet(path: pathlib.Path) -> pl.DataFrame:
    """Its rows; raises UserError where the file cannot be read."""
    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path} is not a readable Parquet file: {error}") from None


def read_text(path: pathlib.Path) -> pl.DataFrame:
    """UCI's comma-separated text: no header, values with blanks around them."""
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("latin-1")
    except DAMAGED as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    lines = pl.DataFrame({"line": text.split("\n")}).with_row_index("number", offset=1)
    lines = lines.filter(pl.col("line").str.strip_chars() != "")
    sizes = lines["line"].str.count_matches(",", literal=True) + 1
    bad = (sizes != len(COLUMNS)).arg_true()
    if len(bad):
        number, size = lines["number"][int(bad[0])], sizes[int(bad[0])]
        raise UserError(
            f"{path}, line {number}: {size} values, expected {len(COLUMNS)}; is it damaged?"
        )
    values = (
        lines["line"].str.split_exact(",", len(COLUMNS) - 1).struct.rename_fields(list(COLUMNS))
    )
    frame = values.struct.unnest().select(pl.all().str.strip_chars())
    for column, dtype in {**dict.fromkeys(NUMERIC, pl.Int64), WEIGHT: pl.Float64}.items():
        numbers = frame[column].cast(dtype, strict=False)
        bad = numbers.is_null().arg_true()
        if len(bad):
            at = int(bad[0])
            raise UserError(
                f"{path}, line {lines['number'][at]}: column {column!r} is {frame[column][at]!r}, "
                "expected a number"
            )
        frame = frame.with_columns(numbers)
    return frame.with_columns((pl.col(WEIGHT) * 100).round().cast(pl.Int64))
