"""Labels, the time column and the group: given, or guessed."""

import datetime

import numpy as np
import pytest
import sampled
from sampled import ROWS, draft, task

from dtn_jax.data.infer.sample import shown
from dtn_jax.errors import UserError

DRAW = sampled.draw(1)
START = datetime.datetime(2026, 3, 1)
BITS = DRAW.integers(0, 2, ROWS)
TIMES = [START + datetime.timedelta(minutes=n) for n in range(ROWS)]
SECONDS = 1_772_323_200 + 60 * np.arange(ROWS)


GUESSED = [  # name, values, the tasks that are guessed beside `buy`
    *((name, BITS, [name]) for name in ("is_click", "add_to_cart", "shareEvent", "long_view")),
    ("label_2", BITS, ["label_2"]),
    *((name, BITS, []) for name in ("last_click", "like_count_7d", "is_mobile")),
    *((name, DRAW.integers(0, 900, ROWS) / 2, [name]) for name in ("dwell_time", "playTimeMs")),
    ("video_duration_ms", DRAW.random(ROWS), []),
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
    made = task({"watch_time": np.where(BITS, np.exp(3 * DRAW.normal(size=ROWS)), 0)}, "watch_time")
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
    columns = {"flag": BITS, "temperature": DRAW.random(ROWS), "buy": ["x"] * ROWS}
    with pytest.raises(UserError, match="--labels=NAME,NAME, of flag, code, temperature"):
        draft(columns, ())


def test_labels_within_others_name_the_nearest():
    click = DRAW.random(ROWS) < 0.4
    cart = click & (DRAW.random(ROWS) < 0.5)
    order = cart & (DRAW.random(ROWS) < 0.5)
    watch = np.where(click, DRAW.random(ROWS), 0.0)
    share = DRAW.random(ROWS) < 0.2
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
        ({"t": DRAW.integers(0, 50, ROWS)}, "", ""),
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
    assert not sampled.field({name: DRAW.choice(values, ROWS)}, name).reason


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
    made = draft({name: DRAW.integers(0, 90, ROWS) for name in names})
    assert made.group.name == group
    assert ("\ngroup: " in sampled.text(made)) == bool(group)


def test_what_stands_beside_0_and_1_in_a_label_is_told():
    values = [*map(str, BITS[:-1]), "maybe"]
    with pytest.raises(UserError, match=r"buy.*beside 0 and 1 it holds maybe: correct these rows"):
        draft({"buy": values})
