"""Census-Income from Parquet, UCI's text or archive, which give the same set; what is refused."""

import gzip
import hashlib
import io
import os
import pathlib
import tarfile
import zipfile

import local_server
import numpy as np
import polars as pl
import pytest

from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.sets import catalog, census_income, download
from dtn_jax.data.sets.census_income import CensusIncome
from dtn_jax.errors import UserError

ROWS = {"train": 300, "test": 150}
FILES = dict(zip(ROWS, census_income.RAW, strict=True))
COLUMNS = census_income.COLUMNS
DEGREES = (
    "Bachelors degree(BA AB BS)",
    "Masters degree(MA MS MEng MEd MSW MBA)",
    "Prof school degree (MD DDS DVM LLB JD)",
    "Doctorate degree(PhD EdD)",
)
WORDS = {
    "marital_stat": ["Never married", "Divorced", "Widowed"],
    "mig_same": ["Yes", "No", "Not in universe under 1 year old"],
    "country_self": ["United-States", "Mexico", "?"],
    "class_worker": [
        "Private",
        "Self-employed-incorporated",
        "Self-employed-not incorporated",
        "Never worked",
    ],
    "union_member": ["Yes", "No", "Not in universe"],
    "education": [*DEGREES, "High school graduate", "Children"],
}


def table(split):
    """Rows as in `<split>.parquet`, except for their number."""
    rng = np.random.default_rng(list(ROWS).index(split))
    n = ROWS[split]
    columns = {}
    for name in COLUMNS:
        if name in (*census_income.NUMERIC, "det_ind_code", "year"):
            columns[name] = rng.integers(0, 50, n)
        elif name == "instance_weight":
            columns[name] = rng.integers(3_000, 900_000, n)  # in hundredths
        elif name == "income_50k":
            columns[name] = rng.choice(["- 50000.", "50000+."], n, p=[0.9, 0.1])
        elif name in WORDS:
            columns[name] = rng.choice(WORDS[name], n)
        else:
            columns[name] = rng.choice(["?", f"{name} one", "Not in universe", "a & b (c)"], n)
    texts = [n for n, c in columns.items() if c.dtype.kind == "U"]
    return pl.DataFrame(columns).with_columns(pl.col(texts).cast(pl.Categorical))


def sha256(frame):
    digest = hashlib.sha256()
    names = [c for c in COLUMNS if c != "instance_weight"]
    for row in frame.select(names).iter_rows():
        digest.update((",".join(map(str, row)) + "\n").encode())
    return digest.hexdigest()


def raw_text(frame):
    """As UCI writes it: no header, blanks around values, weights with two decimals."""
    lines = []
    for row in frame.iter_rows(named=True):
        row["instance_weight"] = f"{row['instance_weight'] / 100:8.2f}"
        lines.append(", ".join(f" {v}" if v == "?" else str(v) for v in row.values()))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def small_official():
    """The generated table's entries of OFFICIAL."""
    return {split: (rows, sha256(table(split))) for split, rows in ROWS.items()}


@pytest.fixture(autouse=True)
def surroundings(request, monkeypatch, small_official):
    """The generated table passes for the official one, except where the real one is read."""
    if not request.node.get_closest_marker("skipif"):
        monkeypatch.setattr(census_income, "OFFICIAL", small_official)
    # No test may reach the net, nor wait for it.
    monkeypatch.setattr(download, "RETRIES", 0)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.delenv("DTN_MANUAL_DIR", raising=False)


@pytest.fixture
def manual(tmp_path):
    """A manual folder; its `census_income` is made, and empty."""
    (tmp_path / "manual" / "census_income").mkdir(parents=True)
    return tmp_path / "manual"


def write_parquet(manual):
    for split in ROWS:
        table(split).write_parquet(manual / "census_income" / f"{split}.parquet")


def write_text(manual, pack=lambda data: data, suffix=""):
    for split, name in FILES.items():
        data = pack(raw_text(table(split)).encode("latin-1"))
        (manual / "census_income" / f"{name}{suffix}").write_bytes(data)


def load(manual, data_dir=None, options=""):
    data_dir = data_dir or manual.parent / "prepared"
    return catalog.load("census_income", options, str(data_dir), str(manual))


@pytest.fixture(scope="module")
def fingerprint(tmp_path_factory, small_official):
    """That of the set prepared from Parquet."""
    manual = tmp_path_factory.mktemp("parquet") / "manual"
    (manual / "census_income").mkdir(parents=True)
    write_parquet(manual)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(census_income, "OFFICIAL", small_official)
        return load(manual).fingerprint


def gzipped(data):
    return gzip.compress(data, mtime=0)


REAL = pathlib.Path(os.environ.get("DTN_MANUAL_DIR") or "/nowhere")
needs_real_data = pytest.mark.skipif(
    not (REAL / "census_income" / "train.parquet").exists(),
    reason="needs $DTN_MANUAL_DIR/census_income/train.parquet",
)


@pytest.mark.slow
@needs_real_data
def test_the_official_splits(tmp_path):
    data = catalog.load("census_income", data_dir=str(tmp_path), manual_dir=str(REAL))
    assert data.rows == {"train": 179_571, "validation": 19_952, "test": 99_762}
    assert data.rows["train"] + data.rows["validation"] == 199_523
    assert len(data.schema.fields) == 39
    assert not {"income_50k", "marital_stat", "instance_weight"} & set(data.schema.field_names)
    assert data.schema.task_names == ("income", "never_married")
    assert data.schema.weight == "instance_weight"
    labels = {s: SplitReader(data, s).everything().labels for s in data.rows}
    train = labels["train"].sum(axis=0) + labels["validation"].sum(axis=0)
    assert train.tolist() == [12_382, 86_485]
    assert labels["test"].sum(axis=0).tolist() == [6_186, 43_143]


def test_from_parquet(manual):
    write_parquet(manual)
    data = load(manual)
    assert data.rows == {"train": 270, "validation": 30, "test": 150}
    assert len(data.schema.fields) == 39
    batch, raw = SplitReader(data, "test").everything(), table("test")
    np.testing.assert_array_equal(batch.labels[:, 0], raw["income_50k"] == "50000+.")
    np.testing.assert_array_equal(batch.labels[:, 1], raw["marital_stat"] == "Never married")
    np.testing.assert_array_equal(batch.sample_weight, raw["instance_weight"].to_numpy())
    # Unknown values take row 0, in columns of text.
    sex = batch.ids[:, data.schema.field_names.index("sex")]
    np.testing.assert_array_equal(sex == 0, raw["sex"] == "?")


def test_numbers_have_as_many_buckets_as_asked_for(manual):
    write_parquet(manual)
    for field in load(manual, options="buckets=8").schema.fields:
        assert (field.rows == 1 + 8) == (field.name in census_income.NUMERIC)


SEVEN = {
    "income": pl.col("income_50k") == "50000+.",
    "never_married": pl.col("marital_stat") == "Never married",
    "moved": pl.col("mig_same") == "No",
    "foreign_born": pl.col("country_self") != "United-States",
    "self_employed": pl.col("class_worker").str.starts_with("Self-employed"),
    "union": pl.col("union_member") == "Yes",
    "bachelor": pl.col("education").is_in(DEGREES),
}
ASKED = {"moved": "mig_same", "union": "union_member"}  # some were not, and lack the label


def seven_of(raw):
    """(labels, which are known) of the adults of a raw frame."""
    adults = raw.cast({pl.Categorical: pl.String}).filter(pl.col("age") >= 18)
    known = np.ones((len(adults), len(SEVEN)), bool)
    for name, column in ASKED.items():
        known[:, list(SEVEN).index(name)] = ~adults[column].str.starts_with("Not in universe")
    return adults.select(**SEVEN).to_numpy(), known


def test_seven_labels_of_adults(manual):
    write_parquet(manual)
    data, usual = load(manual, options="tasks=seven"), load(manual)
    assert data.folder.parts[-2:] == ("tasksseven", "1.0.0")
    assert data.schema.task_names == tuple(SEVEN)
    assert len(data.schema.fields) == 15
    taken = {*usual.schema.field_names, *WORDS, "income_50k"} - {*data.schema.field_names}
    assert {*WORDS, "citizenship", "country_mother", "mig_chg_msa", "tax_filer_stat"} < taken
    values, known = seven_of(table("test"))
    batch = SplitReader(data, "test").everything()
    np.testing.assert_array_equal(batch.label_mask, known)
    np.testing.assert_array_equal(batch.labels, values * known)
    # Validation has the adults of the usual validation, in the same order.
    for split in ("train", "validation"):
        all_rows = SplitReader(usual, split).everything()
        weights = table("train").filter(pl.col("age") >= 18)["instance_weight"].to_list()
        expected = [w for w in all_rows.sample_weight.tolist() if w in weights]
        found = SplitReader(data, split).everything().sample_weight
        np.testing.assert_array_equal(found, expected)


# fmt: off
RATES = {  # {splits: {label: (rows that have it, positives)}}
    ("train", "validation"): {
        "income": (143_531, 12_380), "never_married": (143_531, 30_587), "moved": (71_720, 11_448),
        "foreign_born": (143_531, 19_679), "self_employed": (143_531, 11_532),
        "union": (18_619, 3_019), "bachelor": (143_531, 29_460),
    },
    ("test",): {
        "income": (72_043, 6_186), "never_married": (72_043, 15_474), "moved": (35_959, 5_647),
        "foreign_born": (72_043, 10_048), "self_employed": (72_043, 5_850),
        "union": (9_269, 1_441), "bachelor": (72_043, 14_687),
    },
}
# fmt: on


@pytest.mark.slow
@needs_real_data
def test_rows_and_rates_of_the_seven_labels(tmp_path):
    """Those that docs/data.md names."""
    data = catalog.load("census_income", "tasks=seven", str(tmp_path), str(REAL))
    assert data.rows == {"train": 129_207, "validation": 14_324, "test": 72_043}
    found = {split: SplitReader(data, split).everything() for split in data.rows}
    for splits, expected in RATES.items():
        counts = [sum(found[s].label_mask.sum(axis=0) for s in splits).tolist()]
        counts += [sum(found[s].labels.sum(axis=0) for s in splits).tolist()]
        assert dict(zip(SEVEN, zip(*counts, strict=True), strict=True)) == expected
    values, known = seven_of(pl.read_parquet(REAL / "census_income/test.parquet"))
    np.testing.assert_array_equal(found["test"].label_mask, known)
    np.testing.assert_array_equal(found["test"].labels, values * known)


def windows(data):
    """Lines as Windows ends them, and blank ones among them, packed."""
    return gzipped(data.replace(b"\n", b"\r\n\r\n"))


@pytest.mark.parametrize(("pack", "suffix"), [(bytes, ""), (windows, ".gz")], ids=["plain", "gz"])
def test_text_gives_the_same_as_parquet(manual, fingerprint, pack, suffix):
    write_text(manual, pack, suffix)
    assert load(manual).fingerprint == fingerprint


def line(number, change):
    """Another line in the place of one."""

    def changed(data):
        lines = data.decode().split("\n")
        return "\n".join(
            [*lines[: number - 1], change(lines[number - 1]), *lines[number:]]
        ).encode()

    return changed


def value(column, text):
    """Another value in a column of line 100."""

    def change(line):
        values = line.split(",")
        values[COLUMNS.index(column)] = f" {text}"
        return ",".join(values)

    return line(100, change)


TRAIN, PACKED, PARQUET = "census-income.data", "census-income.data.gz", "train.parquet"
DAMAGE = [  # the file, what becomes of its bytes, the message
    (TRAIN, line(17, lambda text: text.rpartition(",")[0]), ", line 17: 41 values, expected 42"),
    (TRAIN, lambda data: b"\n \n" + line(3, lambda t: t + ", more")(data), ", line 5: 43 values"),
    (TRAIN, value("age", "forty"), ", line 100: age is 'forty', expected a number"),
    (TRAIN, value("weeks_worked", "1.5"), ", line 100: weeks_worked is '1.5'"),
    (TRAIN, value("instance_weight", "x"), ", line 100: instance_weight is 'x'"),
    (TRAIN, value("sex", "Mail"), ": the rows differ from the official split's"),
    (TRAIN, lambda data: data[: data.index(b"\n") + 1], ": 1 rows, but the official split has 300"),
    (PACKED, lambda data: data[: len(data) // 2], " cannot be read: "),
    (PACKED, lambda data: data[:-6] + bytes(6), " cannot be read: "),  # its checksum
    (PARQUET, lambda data: data[:-100], " cannot be read: "),
    (
        PARQUET,
        lambda data: parquet(table("train").drop("sex")),
        ": column 'sex' is missing; the co",
    ),
]


def parquet(frame):
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


@pytest.mark.parametrize(("name", "change", "message"), DAMAGE)
def test_damage(manual, name, change, message):
    if name == PARQUET:
        write_parquet(manual)
    else:
        write_text(manual, *((gzipped, ".gz") if name == PACKED else ()))
    path = manual / "census_income" / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError) as caught:
        load(manual)
    assert f"{path}{message}" in str(caught.value)
    path.unlink()
    with pytest.raises(UserError, match=rf"census_income lacks {TRAIN if name == TRAIN else ''}"):
        load(manual)
    assert not list((manual.parent / "prepared").rglob("prepared.json"))


def archive(member="census.tar.gz"):
    """UCI's archive: a zip that holds a tar.gz that holds the raw pair."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tar:
        for split, name in FILES.items():
            data = raw_text(table(split)).encode()
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as file:
        file.writestr("census-income.names", "| what it is")
        file.writestr(member, inner.getvalue())
    return outer.getvalue()


def test_the_download_gives_the_same_as_parquet(manual, monkeypatch, fingerprint, capsys):
    served = {"requests": 0, "data": archive(member="census.tar")}
    with local_server.serving(served, "census+income+kdd.zip") as url:
        monkeypatch.setattr(CensusIncome, "url", url)
        with pytest.raises(UserError, match=r"lacks census-income\.data and .* it was discarded"):
            load(manual)
        capsys.readouterr()
        served["data"] = archive()
        assert load(manual).fingerprint == fingerprint
    shown = capsys.readouterr()
    assert shown.err == ""
    lines = shown.out.splitlines()
    assert len(lines) == 4
    assert lines[:2] == [f"{manual}/census_income holds no raw files.", f"Downloading {url}"]
