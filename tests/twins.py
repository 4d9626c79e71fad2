"""Small files in the exact forms of the public sets, and the frames that are in them."""

import datetime
import functools

import numpy as np
import polars as pl

from dtn_jax.data.sets import census_income as census

# KuaiRand: {task: its column}.
TASKS = {"click": "is_click", "long_view": "long_view", "profile_enter": "is_profile_enter"}
TASKS |= {"comment": "is_comment", "forward": "is_forward", "follow": "is_follow"}
# MovieLens.
GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance"),
    *("Sci-Fi", "Thriller", "War", "Western"),
)
# AliExpress: the greatest value of each categorical column of the published files, roughly.
SIZES = (5, 20, 35, 10, 10, 35, 185, 40, 40, *[10] * 7)


def aliexpress(folder, country="NL", searches=(90, 40), seed=0):
    """Writes `AliExpress_NL/train.csv` and `test.csv`; returns {split: frame}."""
    rng = np.random.default_rng(seed)
    target = folder / f"AliExpress_{country}"
    target.mkdir(parents=True, exist_ok=True)
    frames = {}
    for split, count in zip(("train", "test"), searches, strict=True):
        search = np.repeat(np.arange(count), rng.integers(1, 14, count))  # in both from 0 on
        rows = len(search)
        columns = {"search_id": search}
        for n, size in enumerate(SIZES, 1):
            columns[f"categorical_{n}"] = rng.integers(0, size, rows)
        for n in range(1, 64):
            columns[f"numerical_{n}"] = (rng.random(rows) * (rng.random(rows) < 0.7)).round(6)
        click = rng.random(rows) < 0.3
        columns["click"] = click.astype(int)
        columns["conversion"] = (click & (rng.random(rows) < 0.2)).astype(int)
        frames[split] = pl.DataFrame(columns)
        frames[split].write_csv(target / f"{split}.csv")
    return frames


def kuairand(days=15, rows=40, seed=0):
    """A log with the columns of KuaiRand's; every day has `rows` rows."""
    rng = np.random.default_rng(seed)
    first = datetime.date(2022, 4, 8)  # a Friday
    dates = [int((first + datetime.timedelta(n)).strftime("%Y%m%d")) for n in range(days)]
    n = rows * days
    click = rng.integers(0, 2, n)
    flags = {name: rng.integers(0, 2, n) for name in ("like", "follow", "comment", "forward")}
    return pl.DataFrame(
        {
            "user_id": rng.integers(0, 30, n),
            "video_id": rng.integers(0, 50, n),
            "date": np.repeat(dates, rows),
            "hourmin": rng.integers(0, 24, n) * 100,
            "time_ms": np.repeat(np.arange(days), rows) * 86_400_000 + 1_649_376_000_000,
            "is_click": click,
            **{f"is_{name}": values for name, values in flags.items()},
            "is_hate": rng.integers(0, 2, n),
            "long_view": click * rng.integers(0, 2, n),
            "play_time_ms": rng.integers(0, 200_000, n),
            "duration_ms": rng.integers(1_000, 200_000, n),
            "profile_stay_time": rng.integers(0, 3, n),
            "comment_stay_time": rng.integers(0, 3, n),
            "is_profile_enter": rng.integers(0, 2, n),
            "is_rand": np.zeros(n, int),
            "tab": rng.integers(0, 15, n),
        }
    )


def kuairand_pure(folder):
    """Writes the two standard logs, 25 rows a day; returns one frame of all rows."""
    frame = kuairand(31, 25)
    target = folder / "KuaiRand-Pure" / "data"
    target.mkdir(parents=True, exist_ok=True)
    early = frame["date"] <= 20220421
    frame.filter(early).write_csv(target / "log_standard_4_08_to_4_21_pure.csv")
    frame.filter(~early).write_csv(target / "log_standard_4_22_to_5_08_pure.csv")
    frame.with_columns(is_rand=1).write_csv(target / "log_random_4_22_to_5_08_pure.csv")
    return frame


def movielens(folder, version, users=40, movies=60, seed=0):
    """Writes a version's files; returns its ratings, each with its movie's and user's columns."""
    rng = np.random.default_rng(seed)
    target = folder / f"ml-{version}"
    target.mkdir(parents=True, exist_ok=True)
    films = _films(rng, movies, version)
    people = _people(rng, users, coded=version == "1m")
    count = rng.integers(5, 30, users)
    seen = np.concatenate([rng.permutation(movies)[:n] for n in count])
    n = count.sum()
    rating = rng.integers(1, 11, n) / 2 if version == "25m" else rng.integers(1, 6, n)
    ratings = pl.DataFrame(
        {
            "user": np.repeat(people["user"].to_numpy(), count),
            "movie": films["movie"].to_numpy()[seen],
            "rating": rating,
            "t": rng.integers(900_000_000, 900_000_000 + 50_000, count.sum()),  # some are equal
        }
    )
    WRITERS[version](target, ratings, films, people)
    joined = ratings.join(films, on="movie", how="left", maintain_order="left")
    return joined.join(people, on="user", how="left", maintain_order="left")


SERIES = {"1m": "Show (2006-2007)", "25m": "Show, A (2006–2007)"}


def _films(rng, count, version):
    """Titles with and without a year, of series, with commas, and with letters beyond ASCII."""
    titles = [f"Film {n} ({1930 + n})" for n in range(count)]
    titles[:3] = ["Cité, La (1995)", "unknown", 'Hidden, The "It" (Hallå, Nu) (1987) ']
    years = [1930 + n for n in range(count)]
    years[:3] = [1995, None, 1987]
    if version in SERIES:
        titles[3], years[3] = SERIES[version], 2006
    drawn = [sorted(rng.permutation(np.arange(1, 19))[: rng.integers(1, 4)]) for _ in range(count)]
    genres = [[GENRES[n] for n in row] for row in drawn]
    genres[1] = []
    return pl.DataFrame(
        {"movie": np.arange(1, count + 1) * 3, "title": titles, "year": years, "genres": genres}
    )


def _people(rng, count, coded):
    jobs = np.arange(21).astype(str) if coded else np.array(["student", "artist", "none", "writer"])
    ages = np.array([1, 18, 25, 35, 45, 50, 56]) if coded else np.arange(7, 74)
    return pl.DataFrame(
        {
            "user": np.arange(1, count + 1),
            "gender": rng.choice(["M", "F"], count),
            "age": rng.choice(ages, count),
            "occupation": rng.choice(jobs, count),
            "zip": rng.choice(["48067", "02139", "V3N4P", "55117-3912"], count),
        }
    )


def lines(path, rows, separator, encoding="latin-1"):
    text = "".join(separator.join(map(str, row)) + "\n" for row in rows)
    path.write_bytes(text.encode(encoding))


def _write_1m(target, ratings, films, people):
    lines(target / "ratings.dat", ratings.rows(), "::")
    lines(target / "users.dat", people.rows(), "::")
    items = [(m, title, "|".join(genres) or "unknown") for m, title, _, genres in films.rows()]
    lines(target / "movies.dat", items, "::")


def _write_25m(target, ratings, films, people):
    header = ("userId", "movieId", "rating", "timestamp")
    lines(target / "ratings.csv", [header, *ratings.rows()], ",", "utf-8")
    items = [
        (m, title, "|".join(genres) or "(no genres listed)") for m, title, _, genres in films.rows()
    ]
    pl.DataFrame(items, ["movieId", "title", "genres"], orient="row").write_csv(
        target / "movies.csv"
    )


WRITERS = {"1m": _write_1m, "25m": _write_25m}


CENSUS_ROWS = {"train": 300, "test": 150}
DEGREES = (
    "Bachelors degree(BA AB BS)",
    "Masters degree(MA MS MEng MEd MSW MBA)",
    "Prof school degree (MD DDS DVM LLB JD)",
    "Doctorate degree(PhD EdD)",
)
OWNERS = ("Self-employed-incorporated", "Self-employed-not incorporated")
WORDS = {
    "marital_stat": ["Never married", "Divorced", "Widowed"],
    "mig_same": ["Yes", "No", "Not in universe under 1 year old"],
    "country_self": ["United-States", "Mexico", "?"],
    "class_worker": ["Private", *OWNERS, "Never worked"],
    "union_member": ["Yes", "No", "Not in universe"],
    "education": [*DEGREES, "High school graduate", "Children"],
}


@functools.cache
def census_table(split):
    """Rows as in `<split>.parquet` of Census-Income, except for their number."""
    rng = np.random.default_rng(list(CENSUS_ROWS).index(split))
    n = CENSUS_ROWS[split]
    columns = {}
    for name in census.COLUMNS:
        if name in (*census.NUMERIC, "det_ind_code", "year"):
            columns[name] = rng.integers(0, 50, n)
        elif name == "instance_weight":
            columns[name] = rng.integers(3_000, 900_000, n)  # in hundredths
        elif name == "income_50k":
            columns[name] = rng.choice(["- 50000.", "50000+."], n, p=[0.9, 0.1])
        else:
            usual = ["?", f"{name} one", "Not in universe", "a & b (c)"]
            columns[name] = rng.choice(WORDS.get(name, usual), n)
    texts = [n for n, c in columns.items() if c.dtype.kind == "U"]
    return pl.DataFrame(columns).with_columns(pl.col(texts).cast(pl.Categorical))


def census_income(folder, kind="text"):
    """Writes `<split>.parquet`, or UCI's text, which has no header, blanks around values, and
    weights with two decimals."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, name in zip(CENSUS_ROWS, census.RAW, strict=True):
        frame = census_table(split)
        if kind == "parquet":
            frame.write_parquet(folder / f"{split}.parquet")
            continue
        weight = [f"{w / 100:8.2f}" for w in frame["instance_weight"]]
        rows = frame.with_columns(instance_weight=pl.Series(weight)).rows()
        lines(folder / name, [[f" {v}" if v == "?" else v for v in row] for row in rows], ", ")


@functools.cache
def census_official():
    """The twin's entries of OFFICIAL."""
    digests = {split: census.digest(census_table(split)) for split in CENSUS_ROWS}
    return {split: (rows, digests[split]) for split, rows in CENSUS_ROWS.items()}
