"""What is guessed of columns, labels, times and groups; leaks are named; the sample behind it."""

import datetime
import json

import numpy as np
import polars as pl
import pytest
import sampled
from sampled import ROWS, draft, field, task

from dtn_jax.data import prepare as logs
from dtn_jax.data.infer import infer, sample
from dtn_jax.data.infer.sample import shown
from dtn_jax.data.raw import files as raw_files
from dtn_jax.data.schemas.spec import InputSpec
from dtn_jax.errors import UserError

DRAW = sampled.draw()
MANY = DRAW.integers(0, 1000, ROWS)
START = datetime.datetime(2026, 3, 1)


SEEN = sampled.draw(3)
LENGTHS = SEEN.integers(0, 6, 1000)
VECTORS = SEEN.normal(size=(1000, 8)).tolist()
TIMES = [START + datetime.timedelta(minutes=n) for n in range(ROWS)]


def ids(lengths=LENGTHS, distinct=30):
    return [SEEN.integers(0, distinct, n).tolist() for n in lengths]


def floats(lengths=LENGTHS):
    return [SEEN.random(n).tolist() for n in lengths]


def some(text, most, count=190):
    """`count` values that come once, and `most` others that come often."""
    return [f"{text}{n}" if n < count else f"a{n % most}" for n in range(ROWS)]


VECTOR = {"kind": "vector", "length": 8}
NO_TIME, NO_VECTOR = "train has no times of test", "a vector has one length and no gaps"
COLUMNS = [  # name, values, the field's options, or why it is left out
    ("device", DRAW.choice(["ios", "web"], ROWS), {}),
    ("duration_ms", MANY, {"kind": "numeric"}),
    ("n_views", DRAW.integers(0, 300, ROWS), {"kind": "numeric"}),
    ("price_id", MANY, {}),
    ("children_count", DRAW.integers(0, 5, ROWS), {}),  # few: each has its own embedding
    ("hashed", DRAW.integers(-(2**60), 2**60, 900)[MANY % 900], {}),
    ("from_pandas", np.where(MANY < 50, np.nan, MANY), {}),  # floats, as ids are missing
    ("income", np.exp(2 * DRAW.normal(size=ROWS)), {"kind": "numeric", "log": "true"}),
    ("zero_padded", [f"{n:05d}" for n in MANY], {}),
    ("rare", [f"v{n}" for n in DRAW.zipf(1.3, ROWS)], {"min_count": 2}),
    ("few_rows", some("b", 200), {}),  # min_count loses a tenth of the rows at most
    ("most_rows", some("b", 200, 1200), {"min_count": 2}),
    ("tags", ids(), {"kind": "bag"}),
    ("ids", ids(distinct=10**6), {"kind": "bag", "min_count": 2}),
    ("vectors", VECTORS, VECTOR),
    ("holes", pl.Series([v if n % 5 else None for n, v in enumerate(VECTORS)]), VECTOR),
    ("env", ["prod"] * ROWS, "constant: always prod"),
    ("request_id", [f"r{n}" for n in range(ROWS)], "nearly unique: 4,000 different values in"),
    ("gap", [datetime.timedelta(seconds=n % 50) for n in range(ROWS)], "spans of time"),
    ("ratio", DRAW.choice([0.5, 0.7, np.inf], ROWS), "infinite"),
    ("born", [START - datetime.timedelta(days=int(n)) for n in MANY], NO_TIME),
    ("f", floats(), NO_VECTOR),
    ("y", [[0.5, 0.1 * n] for n in range(999)] + [[float("inf"), 0.5]], NO_VECTOR),
    ("seen_weight", ids(), "or weights: NAME in a bag?"),
    ("z", pl.Series([[]] * 1000, dtype=pl.List(pl.Int64)), "no list has a value"),
]


@pytest.mark.parametrize(("name", "values", "expected"), COLUMNS, ids=[c[0] for c in COLUMNS])
def test_what_becomes_of_a_column(name, values, expected):
    event = {"t": TIMES} if len(values) == ROWS and isinstance(expected, str) else {}
    made = field(event | {name: values}, name, time="t" * bool(event))
    if isinstance(expected, str):
        assert expected in made.reason
        assert not made.suspect
    else:
        assert (made.options, made.reason) == (expected, "")


def test_a_user_is_no_request_though_nearly_unique_in_a_sample():
    users = [f"u{n}" for n in range(ROWS)]
    assert field({"user_id": users}, "user_id", whole=True).reason
    assert not field({"user_id": users}, "user_id", whole=False).reason
    assert field({"request_id": users}, "request_id", whole=False).reason


def table(rows, first=0):
    return pl.DataFrame({"n": np.arange(first, first + rows), "file": [first] * rows})


def read(folder, format="parquet"):
    return sample.read(raw_files.find([str(folder)]), InputSpec(format=format))


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "csv", "jsonl"])
def test_a_small_log_is_read_whole(tmp_path, suffix):
    writers = {"arrow": "write_ipc", "jsonl": "write_ndjson"}
    for first in (0, 100, 200):
        writer = getattr(table(100, first), writers.get(suffix, f"write_{suffix}"))
        writer(tmp_path / f"{first:03d}.{suffix}")
    found = read(tmp_path, suffix)
    assert found.frame["n"].cast(int).to_list() == list(range(300))
    assert found.whole
    assert found.size == "all 300 rows, from 3 of 3 files"


def test_a_large_log_is_sampled_from_its_beginning_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "ROWS", 1000)
    for part in range(20):
        table(500, 500 * part).write_parquet(tmp_path / f"{part:02d}.parquet", row_group_size=100)
    found = read(tmp_path)
    assert found.size == "1,000 of about 10,000 rows, from 20 of 20 files"
    assert not found.whole
    assert set(found.frame["file"].unique()) == {500 * part for part in range(20)}


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_large_text_is_sampled_from_its_beginning_to_its_end(tmp_path, monkeypatch, suffix):
    for name, value in {"ROWS": 1000, "WHOLE": 0, "PIECE": 2000}.items():
        monkeypatch.setattr(sample, name, value)
    writer = {"jsonl": "write_ndjson"}.get(suffix, f"write_{suffix}")
    getattr(table(50_000), writer)(tmp_path / f"a.{suffix}")
    found = read(tmp_path, suffix)
    seen = found.frame["n"].cast(int)
    assert seen.is_sorted()
    assert seen.n_unique() == found.frame.height
    assert 980 < found.frame.height <= 1000
    assert seen.max() - seen.min() > 45_000
    about = int(found.size.split()[3].replace(",", ""))
    assert found.size == f"{found.frame.height:,} of about {about:,} rows, from 1 of 1 files"
    assert about == pytest.approx(50_000, rel=0.05)
    assert found.broken.rejected == 0


@pytest.mark.parametrize("large", [False, True])
def test_rows_that_cannot_be_read_are_named(tmp_path, monkeypatch, large):
    lines = [f"{n},{n % 2},{n % 7}\n" for n in range(3000)]
    lines[1700] = "1700,1\n"
    path = tmp_path / "a.csv"
    path.write_text("n,buy,code\n" + "".join(lines))
    where = f"{path}, row 1,702"
    if large:
        for name, value in {"WHOLE": 0, "PIECE": 10_000}.items():
            monkeypatch.setattr(sample, name, value)
        where = f"{path}, from byte "
    drafted = infer.draft(read(tmp_path, "csv"), ["buy"])
    told = sampled.shown(drafted).partition("To look at")[2]
    assert f"rows rejected: too few columns: {where}" in told
    assert "1700,1" in told


def test_columns_that_begin_late_in_json_lines_are_seen(tmp_path):
    """JSON writers leave out what is null: the first 2,000 lines lack columns."""
    late = {"price": 1.5, "tags": [1, 2], "more": {"a": 1}}
    lines = [{"n": n, "buy": n % 2} | (late if n >= 9000 else {}) for n in range(12_000)]
    lines[7000]["rare"] = 1
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = read(tmp_path, "jsonl")
    assert found.size == "all 12,000 rows, from 1 of 1 files"
    assert found.frame.columns == ["n", "buy", "rare", "price", "tags"]
    assert found.frame["price"].null_count() == found.frame["tags"].null_count() == 9000
    assert found.refused.keys() == {"more"}
    infer.infer([str(tmp_path)], tmp_path / "s.yaml", labels=["buy"])
    data = logs.prepare(tmp_path / "s.yaml", str(tmp_path), tmp_path / "data", processes=1)
    assert {"price", "tags", "rare"} <= set(data.schema.field_names)


def test_columns_that_not_all_files_have_are_refused(tmp_path):
    pl.DataFrame({"a": [1], "b": [1], "c": [1], "d": [{"x": 1}], "e": [1]}).write_parquet(
        tmp_path / "1.parquet"
    )
    pl.DataFrame({"a": [1.5], "c": [[1]], "d": [{"x": 1}], "e": ["7"]}).write_parquet(
        tmp_path / "2.parquet"
    )
    found = read(tmp_path)
    assert found.frame.to_dict(as_series=False) == {"a": [1.0, 1.5], "e": ["1", "7"]}
    for name, kind in {"b": "absent", "c": "lists", "d": "nested"}.items():
        assert f"{kind} in " in found.refused[name]
        assert "2.parquet" in found.refused[name]
    assert "numbers in " in found.refused["c"]


def test_a_column_that_breaks_rows_is_refused(tmp_path):
    bad = [b"ok", b"\xff\xfe"] * 50
    pl.DataFrame({"n": range(100), "bytes": bad}).write_parquet(tmp_path / "a.parquet")
    found = read(tmp_path)
    assert found.frame.columns == ["n"]
    assert found.frame.height == 100
    assert "not UTF-8" in found.refused["bytes"]


@pytest.mark.parametrize(
    ("values", "is_list"),
    [
        (["red", "red|blue", "blue|new"], True),
        (["['red', 'blue']", "[]"], True),
        (["red, blue", "Smith (a)"], False),
    ],
)
def test_lists_that_stand_as_texts_are_asked_about(values, is_list):
    made = field({"tags": DRAW.choice(values, ROWS)}, "tags")
    assert ("lists as texts? A bag needs a column of lists" in " ".join(made.notes)) == is_list


def test_one_bad_cell_of_many_rows_makes_no_number_a_category_and_loses_no_time():
    """`prepare` rejects the row, and names it."""
    rows = 20_000
    far = [f"{n % 900 / 100}" for n in range(rows - 1)] + ["far"]
    times = [str(START + datetime.timedelta(minutes=n)) for n in range(rows - 1)] + ["yesterday"]
    made = sampled.draft({"distance_km": far, "t": times})
    assert next(f for f in made.fields if f.name == "distance_km").options["kind"] == "numeric"
    assert "split: {by: time" in sampled.text(made)


# Planted leaks are named, with the figure; strong fields and rare labels are no leaks.


DRAW_2 = sampled.draw(2)
BUY = (DRAW_2.random(ROWS) < 0.1).astype(int)


def where(mask, values):
    """`values` where the mask is 1, missing elsewhere."""
    return pl.Series([v if there else None for v, there in zip(values, mask, strict=True)])


LEAKS = [  # values of x, what is said of it
    (BUY, "a label in disguise? Alone it has AUC 1.0000 on buy"),
    (BUY + 0.1 * DRAW_2.normal(size=ROWS), "Alone it has AUC 0.99"),
    (-7 * (BUY + 0.1 * DRAW_2.normal(size=ROWS)), "Alone it has AUC 0.99"),
    (
        np.where(BUY, DRAW_2.choice([-1.0, 1.0], ROWS), DRAW_2.random(ROWS) / 2),
        "Alone it has AUC ",
    ),
    (2 * DRAW_2.integers(0, 40, ROWS) + BUY, "AUC 1.0000 on buy"),  # odd numbers
    (where(BUY, DRAW_2.random(ROWS)), "missing in 0 % of the rows with buy, and in 100 %"),
    (where(1 - BUY, ["card"] * ROWS), "missing in 100 % of the rows with buy, and in 0 %"),
    (where(BUY, TIMES), "known only after the fact? It is missing in 0 %"),
    ([[1] * int(b) for b in BUY], "empty or missing in 0 % of the rows with buy"),
]


@pytest.mark.parametrize(("values", "told"), LEAKS)
def test_a_planted_leak_is_named(values, told):
    columns = {"x": pl.Series(values, strict=False), "buy": BUY}
    drafted = draft(columns)
    (made,) = (f for f in drafted.fields if f.name == "x")
    assert told in made.reason
    assert made.suspect
    assert f"x: {made.reason}" in sampled.shown(drafted)
    assert f"  #     {made.reason}" in sampled.text(drafted)


CLICK = (DRAW_2.random(ROWS) < 0.3).astype(int)
RATED = CLICK * (DRAW_2.random(ROWS) < 0.2)
STRAY = np.where(np.arange(ROWS) == np.flatnonzero(CLICK == 0)[0], 1, RATED)  # one of 240


@pytest.mark.parametrize("name", ["rated_5", "order"])
@pytest.mark.parametrize(("values", "value"), [(RATED, 1), (STRAY, 1), (RATED + 3, 4)])
def test_an_event_that_only_comes_with_a_label_looks_like_one(name, values, value):
    drafted = draft({"click": CLICK, name: values}, ("click",))
    (made,) = (f for f in drafted.fields if f.name == name)
    assert made.suspect
    told = f"{name}: it looks like a label, since it is {value} only where click is 1: add it to"
    assert told in sampled.shown(drafted).partition("Suspect, and left out")[2]


def test_an_event_that_only_comes_with_one_that_is_no_label_looks_like_a_label():
    drafted = draft({"click": CLICK, "rated_5": RATED})
    reasons = {f.name: f.reason for f in drafted.fields}
    assert "it looks like a label, since it is 1 only where click is 1" in reasons["rated_5"]
    assert "an outcome by its name" in reasons["click"]


def test_a_column_around_a_label_is_asked_about():
    drafted = draft({"opened": CLICK, "rated_5": RATED}, ("rated_5",))
    assert not next(f for f in drafted.fields if f.name == "opened").reason
    told = "opened: rated_5 is 1 only where this is: if it is not known when a row is shown"
    assert told in sampled.shown(drafted)
    assert f"    # {told.removeprefix('opened: ')}" in sampled.text(drafted)


STRONG = BUY + 0.6 * DRAW_2.normal(size=ROWS)  # AUC 0.88


@pytest.mark.parametrize(
    "values",
    [
        STRONG,
        where(DRAW_2.random(ROWS) < 0.3 + 0.5 * BUY, STRONG),
        (DRAW_2.random(ROWS) < 0.005 + 0.5 * BUY).astype(int),
        (np.arange(ROWS) % 1000 > 0).astype(int),  # around nearly all
    ],
)
def test_a_strong_feature_is_no_leak(values):
    made = field({"x": pl.Series(values), "buy": BUY}, "x")
    assert (made.reason, made.notes) == ("", [])


def test_too_few_positives_are_not_judged():
    few = np.zeros(ROWS, int)
    few[:25] = 1
    made = draft({"x": few, "order": few}, ("order",))
    assert not next(f for f in made.fields if f.name == "x").suspect


def test_outcomes_that_are_no_labels_are_left_out():
    made = draft({"click": DRAW_2.random(ROWS) < 0.3, "dwell_time": DRAW_2.random(ROWS)}, ("buy",))
    for name in ("click", "dwell_time"):
        found = next(f for f in made.fields if f.name == name)
        assert found.suspect
        assert "an outcome by its name, and none of --labels" in found.reason


def test_a_few_bad_rows_make_no_regression_of_a_label_nor_a_field():
    stray = BUY.copy()
    stray[[7, 8, 9]] = [2, 2, -1]
    for labels in (("click",), ()):
        assert task({"click": stray}, "click", labels).options == {}
    (left,) = (f for f in draft({"click": stray}).fields if f.name == "click")
    assert "an outcome by its name" in left.reason
    stray[10:20] = 2  # too many for bad rows
    assert task({"click": stray}, "click", ("click",)).options["kind"] == "regression"
    zeros = np.zeros(ROWS, int)
    zeros[7:9] = 2, 3
    assert task({"click": zeros}, "click", ("click",)).options["kind"] == "regression"


# Labels, the time column and the group: given, or guessed.


DRAW_1 = sampled.draw(1)
BITS = DRAW_1.integers(0, 2, ROWS)
SECONDS = 1_772_323_200 + 60 * np.arange(ROWS)


GUESSED = [  # name, values, the tasks that are guessed beside `buy`
    *((name, BITS, [name]) for name in ("is_click", "add_to_cart", "shareEvent", "long_view")),
    ("label_2", BITS, ["label_2"]),
    *((name, BITS, []) for name in ("last_click", "like_count_7d", "is_mobile")),
    *((name, DRAW_1.integers(0, 900, ROWS) / 2, [name]) for name in ("dwell_time", "playTimeMs")),
    ("video_duration_ms", DRAW_1.random(ROWS), []),
]


@pytest.mark.parametrize(("name", "values", "expected"), GUESSED, ids=[g[0] for g in GUESSED])
def test_labels_are_guessed_by_name_and_values(name, values, expected):
    made = draft({name: values}, ())
    tasks = {t.name: t for t in made.tasks}
    assert tasks.keys() == {*expected, "buy"}
    assert all(t.facts.startswith("guessed; ") for t in made.tasks)
    assert (name in [f.name for f in made.fields if not f.reason]) == (not expected)
    assert "guessed" in sampled.text(made)
    if values is not BITS and expected:
        assert tasks[name].options == {"kind": "regression", "range": ["0", "900"]}


def test_labels_have_rates_and_notes():
    assert task({"click": [1, 0, 0, 0] * 1000}, "click").facts == "guessed; 25.0 % positive"
    made = task(
        {"watch_time": np.where(BITS, np.exp(3 * DRAW_1.normal(size=ROWS)), 0)}, "watch_time"
    )
    assert made.options["label"] == "log1p(watch_time)"
    assert made.notes[0] == "skewed, so its logarithm is fitted"
    assert float(made.options["range"][1]) > np.log1p(made.values.max())


GAPS = [None if n % 3 else n % 2 for n in range(ROWS)]
NANS = np.where(np.arange(ROWS) < 60, 0, np.where(np.arange(ROWS) % 3, np.nan, 1.0))
ONES = GAPS.count(1)
LABELS = [  # name, values, the task's options where it is asked for, its positives
    ("like", GAPS, {"known": "not missing(like)"}, ONES),
    ("a b", GAPS, {"known": '"not missing(`a b`)"'}, ONES),
    ("like", NANS, {"known": "not missing(like)"}, (NANS == 1).sum()),
    ("y", np.where(BITS, "TRUE", "false"), {"label": "y == true"}, BITS.sum()),
]


@pytest.mark.parametrize(("name", "values", "options", "positives"), LABELS)
def test_what_is_the_label_of_a_column(name, values, options, positives):
    made = task({name: values}, name, (name,))
    assert (made.options, made.positives) == (options, positives)
    sampled.text(draft({name: values}, (name,)))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"labels": ("byu",)}, ["--labels", "'byu'", "Did you mean 'buy'"]),
        ({"labels": ("device",)}, ["device", "such as web", "== 'web'"]),
        ({"labels": ("pair",)}, ["pair", "such as 1", "{label: pair == 1}"]),
        ({"labels": ("five",)}, ["five", "always 5"]),
        ({"labels": ("tags",)}, ["tags", "lists"]),
        ({"time": "device"}, ["--time=device", "100 %"]),
        ({"time": "holes"}, ["--time=holes", "missing"]),
        ({"group": "holes"}, ["--group=holes", "missing"]),
        ({"group": "buy"}, ["--labels=buy", "as well"]),
    ],
)
def test_columns_that_do_not_fit_are_refused(given, words):
    holes = [None if n % 50 == 0 else START for n in range(ROWS)]
    pair = [-1 if n % 3 == 0 else 1 for n in range(ROWS)]
    columns = {
        "device": ["web"] * ROWS,
        "pair": pair,
        "five": [5] * ROWS,
        "tags": [[1]] * ROWS,
        "holes": holes,
    }
    with pytest.raises(UserError) as told:
        draft(columns, **given)
    assert all(word in str(told.value) for word in words), told.value


def test_without_a_label_candidates_are_listed():
    columns = {"flag": BITS, "temperature": DRAW_1.random(ROWS), "buy": ["x"] * ROWS}
    with pytest.raises(UserError, match="--labels=NAME,NAME, of flag, code, temperature"):
        draft(columns, ())


def test_labels_within_others_name_the_nearest():
    click = DRAW_1.random(ROWS) < 0.4
    cart = click & (DRAW_1.random(ROWS) < 0.5)
    order = cart & (DRAW_1.random(ROWS) < 0.5)
    watch = np.where(click, DRAW_1.random(ROWS), 0.0)
    share = DRAW_1.random(ROWS) < 0.2
    columns = {"order": order, "click": click, "cart": cart, "share": share, "watch_time": watch}
    made = {t.name: t for t in draft(columns, ()).tasks}
    for name, outer in (("order", "cart"), ("cart", "click"), ("watch_time", "click")):
        assert made[name].options["upstream"] == [outer]
        assert made[name].options.get("also_report") == ([outer] if name != "watch_time" else None)
        around = [n for n in made[name].notes if f"are among those of {outer} (" in n]
        assert f"({made[outer].positives:,})" in around[0]
    assert "upstream" not in made["click"].options | made["share"].options


@pytest.mark.parametrize(
    ("columns", "time", "unit"),
    [
        ({"t": TIMES}, "t", ""),
        ({"ts": SECONDS, "published_at": TIMES}, "ts", "s"),
        ({"event_time": SECONDS * 1000, "click_ts": TIMES}, "event_time", "ms"),
        ({"date": [f"2026-03-{1 + n % 9:02d}" for n in range(ROWS)], "ts": SECONDS}, "ts", "s"),
        ({"day": [20260301 + n % 9 for n in range(ROWS)]}, "day", "yyyymmdd"),
        ({"t": DRAW_1.integers(0, 50, ROWS)}, "", ""),
        ({"t": [None, *TIMES[1:]], "price": SECONDS}, "", ""),
    ],
)
def test_the_time_column(columns, time, unit):
    made = draft(columns)
    assert (made.time.name, made.time.options.get("unit", "")) == (time, unit)
    assert made.split == ("time" if time else "random")
    text = sampled.text(made)
    assert ("\ntime: " in text) == bool(time)


WRITTEN = [  # a time in a form that is not read
    "%m/%d/%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%m/%d/%y %I:%M %p",
    "%H:%M:%S",
]


@pytest.mark.parametrize(
    ("name", "form"),
    [*(("ts", form) for form in WRITTEN), ("ts", "%B %d, %Y"), ("time", "%H:%M")],
)
def test_texts_that_look_like_times_are_no_field_and_told(name, form):
    texts = [time.strftime(form) for time in TIMES]
    made = draft({name: texts})
    (field,) = [f for f in made.fields if f.name == name]
    assert f"times such as {shown(texts[0])} cannot be read" in field.reason
    assert "2026-03-01 00:03" in field.reason
    out = sampled.shown(made)
    assert (
        f"{name}: no field, and no time"
        in out.split("Suspect, and left out")[1].split("To look at")[0]
    )
    assert "time   none: " in out
    assert "# time: t" in sampled.text(made)
    with pytest.raises(UserError) as told:
        draft({name: texts}, time=name)
    assert f"--time={name}: in 100 % of the rows" in str(told.value)
    assert f"such as {shown(texts[0])} cannot be read" in str(told.value)
    assert "2026-03-01 00:03" in str(told.value)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("age", ["18-24", "25-34", "35-44"]),
        ("ip", ["10.0.0.1", "192.168.20.10", "20.1.1.2"]),
        ("screen", ["16:9", "16:10", "4:3"]),
    ],
)
def test_texts_that_are_no_times_stay_fields(name, values):
    assert not sampled.field({name: DRAW_1.choice(values, ROWS)}, name).reason


@pytest.mark.parametrize("tail", ["", "05", "0559"])
def test_numbers_that_are_written_hours_are_asked_about(tail):
    """2026030112 is no second of the year 2034."""
    hours = [int(f"202603{1 + n % 28:02d}{n % 24:02d}{tail}") for n in range(ROWS)]
    made = draft({"dt": hours})
    assert (made.time.name, made.time.options.get("unit", "")) == ("dt", "number")
    assert f"do numbers such as {hours[0]} mean a date and an hour?" in made.time.notes[0]
    assert "hour" not in [field.name for field in made.fields]
    assert "unit: number" in sampled.text(made)


def test_the_hour_becomes_a_field():
    assert [f.name for f in draft({"t": TIMES}).fields] == ["hour", "code"]
    days = [START + datetime.timedelta(days=n % 9) for n in range(ROWS)]
    assert "hour" not in [f.name for f in draft({"t": days}).fields]
    made = draft({"t": TIMES, "born": TIMES[::-1], "hour": BITS})
    assert [f.name for f in made.fields] == ["born", "hour", "code"]
    assert "value: number(t) - number(NAME) is a field" in made.fields[0].reason


@pytest.mark.parametrize(
    ("names", "group"),
    [
        (["session_id", "user_id"], "user_id"),
        (["member"], "member"),
        (["user_age", "user_type"], ""),
    ],
)
def test_the_group(names, group):
    made = draft({name: DRAW_1.integers(0, 90, ROWS) for name in names})
    assert made.group.name == group
    assert ("\ngroup: " in sampled.text(made)) == bool(group)


def test_what_stands_beside_0_and_1_in_a_label_is_told():
    values = [*map(str, BITS[:-1]), "maybe"]
    with pytest.raises(UserError, match=r"buy.*beside 0 and 1 it holds maybe: correct these rows"):
        draft({"buy": values})
