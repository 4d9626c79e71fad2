"""KDD Census-Income (1994/95), official splits: the benchmark of the MMoE and PLE papers.

Reads, from `<manual_dir>/census_income`, either `train.parquet` and `test.parquet` or UCI's
`census-income.data` and `census-income.test` (plain or `.gz`); without them it downloads UCI's
archive. Whatever the source, the rows must have the official table's SHA-256.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import pathlib
import tarfile
import zipfile

import polars as pl

from dtn_jax.datasets.builder import BlockBuilder, Layout, hold_out
from dtn_jax.datasets.encoders import QuantileBuckets, Vocabulary
from dtn_jax.schema import Task, UserError

URL = "https://archive.ics.uci.edu/static/public/117/census+income+kdd.zip"
ARCHIVE_MEMBER = "census.tar.gz"  # inside the zip; holds the two raw files
RAW = {"train": "census-income.data", "test": "census-income.test"}
VALIDATION = 0.1  # of UCI's train split, by a fixed seed
VALIDATION_SEED = 1995

# Rows and SHA-256 of the official splits: of all columns but instance_weight, as text, values
# joined by "," and rows ended by "\n".
OFFICIAL = {
    "train": (199_523, "54caf6039d442aa2b21e1c110e94ccdc574ca7f195bc36917423882206be3132"),
    "test": (99_762, "b70f3913a8b46dcebaa078797d3439f36521e71d073c37d124c116148349fbeb"),
}

COLUMNS = (
    "age class_worker det_ind_code det_occ_code education wage_per_hour hs_college marital_stat "
    "major_ind_code major_occ_code race hisp_origin sex union_member unemp_reason "
    "full_or_part_emp capital_gains capital_losses stock_dividends tax_filer_stat "
    "region_prev_res state_prev_res det_hh_fam_stat det_hh_summ instance_weight mig_chg_msa "
    "mig_chg_reg mig_move_reg mig_same mig_prev_sunbelt num_emp fam_under_18 country_father "
    "country_mother country_self citizenship own_or_self vet_question vet_benefits "
    "weeks_worked year income_50k"
).split()
LABELS = ("income_50k", "marital_stat")
WEIGHT = "instance_weight"
NUMERIC = (
    "age",
    "wage_per_hour",
    "capital_gains",
    "capital_losses",
    "stock_dividends",
    "num_emp",
    "weeks_worked",
)


class CensusIncome(BlockBuilder):
    """KDD Census-Income: income above 50K, and never married (39 fields, 299,285 rows).

    `income_50k` and `marital_stat` give the labels and so are not fields; `instance_weight` is
    stored as the example's weight.
    """

    weight = WEIGHT
    url = URL

    def encoders(self):
        fields = [c for c in COLUMNS if c not in (*LABELS, WEIGHT)]
        categorical = Vocabulary(unknown=("?",))
        return {c: QuantileBuckets(buckets=64) if c in NUMERIC else categorical for c in fields}

    def tasks(self):
        return (Task("income"), Task("never_married"))

    def layout(self):
        return Layout(lanes=32, block_rows=128)

    def raw(self, dl_manager):
        files = locate(self.manual_dir / "census_income") if self.manual_dir else None
        if files is None:
            archive = pathlib.Path(dl_manager.download(self.url))
            files = unpack(archive, archive.with_suffix(".unpacked"))
        frames = {split: read(path, *OFFICIAL[split]) for split, path in files.items()}
        train, validation = hold_out(frames["train"], VALIDATION, VALIDATION_SEED)
        splits = {"train": train, "validation": validation, "test": frames["test"]}
        return {name: functools.partial(iter, [split]) for name, split in splits.items()}


def locate(folder: pathlib.Path) -> dict[str, pathlib.Path] | None:
    """The raw pair in `folder`, {split: path}; None where it holds no file of a pair."""
    found = {}
    for split, name in RAW.items():
        candidates = [folder / f"{split}.parquet", folder / name, folder / f"{name}.gz"]
        found[split] = next((p for p in candidates if p.exists()), None)
    if not any(found.values()):
        return None
    for split, path in found.items():
        if path is None:
            raise UserError(
                f"{folder} lacks the {split} split: expected {split}.parquet, {RAW[split]} "
                f"or {RAW[split]}.gz"
            )
    return found


def unpack(archive: pathlib.Path, folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Unpacks UCI's zip, which holds a tar.gz, which holds the raw pair."""
    folder.mkdir(exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as outer, outer.open(ARCHIVE_MEMBER) as member:
            with tarfile.open(fileobj=member, mode="r:gz") as inner:
                for entry in inner:
                    name = pathlib.PurePosixPath(entry.name).name
                    if name in RAW.values():
                        (folder / name).write_bytes(inner.extractfile(entry).read())
    except (zipfile.BadZipFile, tarfile.TarError, KeyError, EOFError, OSError) as error:
        raise UserError(f"the archive downloaded from {URL} cannot be unpacked: {error}") from None
    files = locate(folder)
    if files is None:
        raise UserError(f"the archive downloaded from {URL} lacks {' and '.join(RAW.values())}")
    return files


def read(path: pathlib.Path, rows: int, sha256: str) -> pl.DataFrame:
    """One raw file as a frame of text and numbers, with the two labels as 0 and 1.

    Raises:
      UserError: the file is damaged, has other columns, or is not the official split.
    """
    frame = read_parquet(path) if path.suffix == ".parquet" else read_text(path)
    missing = [c for c in COLUMNS if c not in frame.columns]
    if missing:
        raise UserError(
            f"{path}: column {missing[0]!r} is missing; the columns are: {', '.join(frame.columns)}"
        )
    if len(frame) != rows:
        raise UserError(f"{path}: {len(frame)} rows, but the official split has {rows}: truncated?")
    if digest(frame) != sha256:
        raise UserError(f"{path}: the rows differ from the official split's (SHA-256 {sha256[:12]}…)")
    return frame.with_columns(
        income=(pl.col("income_50k") == "50000+.").cast(pl.Int8),
        never_married=(pl.col("marital_stat") == "Never married").cast(pl.Int8),
    )


def digest(frame: pl.DataFrame) -> str:
    """The SHA-256 of OFFICIAL's definition."""
    text = frame.select(
        pl.concat_str([pl.col(c).cast(pl.String) for c in COLUMNS if c != WEIGHT], separator=",")
    ).to_series()
    return hashlib.sha256("".join(f"{row}\n" for row in text).encode()).hexdigest()


def read_parquet(path: pathlib.Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path} is not a readable Parquet file: {error}") from None


def read_text(path: pathlib.Path) -> pl.DataFrame:
    """UCI's comma-separated text: no header, values with blanks around them."""
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("latin-1")
    except (OSError, EOFError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    lines = [[v.strip() for v in line.split(",")] for line in text.splitlines() if line.strip()]
    for number, values in enumerate(lines, start=1):
        if len(values) != len(COLUMNS):
            raise UserError(
                f"{path}, line {number}: {len(values)} values, expected {len(COLUMNS)}: damaged?"
            )
    frame = pl.DataFrame(lines, schema=dict.fromkeys(COLUMNS, pl.String), orient="row")
    numbers = {c: pl.Int64 for c in NUMERIC} | {WEIGHT: pl.Float64}
    for column, dtype in numbers.items():
        cast = frame[column].cast(dtype, strict=False)
        bad = cast.is_null().arg_true()
        if len(bad):
            raise UserError(
                f"{path}, line {int(bad[0]) + 1}: column {column!r} is {frame[column][int(bad[0])]!r}, "
                "expected a number"
            )
        frame = frame.with_columns(cast.alias(column))
    return frame.with_columns((pl.col(WEIGHT) * 100).round().cast(pl.Int64))
