"""Does an early validation tell how a run will end? The figure behind the tables' tuning.

Successive halving trusts that settings which are ahead at an early validation are ahead in
the end too. Here settings are drawn at random and all trained to the end, and each validation's
ranking is compared with that of the runs' values, their best validations: Spearman's correlation,
for each entry. Beside it, what halving would have kept of these runs, and how far its best is below
the best of all.

It writes WORKDIR/NAME/proxy.json, .md and .png. Like the tuning it reads train and validation
alone, and resumes where it was stopped.
"""

from __future__ import annotations

import contextlib
import pathlib
import warnings
import zlib
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.stats import rankdata

from dtn_jax.analysis.figures import save
from dtn_jax.errors import choose
from dtn_jax.metrics.selected import higher_is_better
from dtn_jax.report import screen
from dtn_jax.report.markdown import table
from dtn_jax.report.plots import COLOURS, NOTE, clean
from dtn_jax.shared_files import disk_errors, replacing, write_whole

from .. import command, compile_cache, folders
from ..search import sweep_report
from ..search.budget import THIRD, Budget
from ..search.opening import open_study
from ..search.search_space import load_space
from ..search.storage_urls import of_file
from ..search.worker import work
from . import cells, finished, kept, tuning
from .protocol_files import load, shipped
from .work import Work

RESUMES = True  # an interrupted call resumes from its last checkpoint
EXAMPLE = "python -m experiments.tables.proxy --dataset=census_income --entries=dtn,mmoe"
NAME = "proxy"
RUNS = 16
REPEATS, LEVEL = 2000, 95  # of the bootstrap over settings; % of its interval


def main(arguments: Sequence[str]) -> None:
    known = make_parser().parse_args(arguments)
    files = shipped()
    path = pathlib.Path(known.protocol) if known.protocol else None
    path = path or files[choose("dataset", known.dataset or "", files)]
    protocol, name = load(path), path.stem
    entries = [e for e in known.entries.split(",") if e] or [protocol.ours]
    for entry in entries:
        choose("entry", entry, protocol.entries)
    folder = pathlib.Path(known.workdir) / name
    runs = pathlib.Path(known.runs or folder / "runs") / "proxy"
    for made in (folder, runs):
        folders.make(made, "workdir")
    compile_cache.use(known.cache_dir)
    places = {"data.data_dir": known.data_dir, "data.manual_dir": known.manual_dir}
    of_tables = Work(protocol, folder, runs, places, together=False)
    path = folder / f"{NAME}.json"
    with disk_errors(folder):
        found = kept.read_json(path) or {}
        for entry in entries:
            if len(found.get(entry, {}).get("trials", ())) < known.draws:
                found[entry] = train_all(of_tables, entry, known.draws)
                kept.keep(path, found)
        write_whole(path.with_suffix(".md"), page(found, name))
        with replacing(path.with_suffix(".png")) as temporary:
            save(picture(found, name), temporary, dpi=140, bbox_inches="tight")
    screen.say(path.with_suffix(".md").read_text(), highlight=False)


def make_parser() -> command.Parser:
    parser = command.parser(__doc__, EXAMPLE)
    parser.add_argument("--dataset", help=f"a shipped protocol, one of {', '.join(shipped())}")
    parser.add_argument("--protocol", metavar="FILE", help="your own protocol file")
    parser.add_argument("--entries", default="", help="comma-separated (default: the protocol's)")
    parser.add_argument("--draws", type=int, default=RUNS, help="settings (default %(default)s)")
    finished.add_places(parser)
    return parser


def train_all(of_tables: Work, entry: str, count: int) -> dict:
    """Random settings of an entry, all trained to the end; what is kept of them."""
    protocol, data = of_tables.protocol, of_tables.data
    _, config = of_tables.search_file(entry)
    run = of_tables.runs / f"{entry}-{cells.run_name(config, data)}"
    run.mkdir(parents=True, exist_ok=True)
    budget = Budget(count, "random", "none", zlib.crc32(f"proxy {entry}".encode()), {})
    asked = tuning.asked(protocol.config)
    storage, select = of_file(run / f"random_{count}.db"), config.train.select
    study = open_study(storage, entry, config, select, budget, asked, data=data.fingerprint)
    with contextlib.closing(study):
        study.alone()
        work(study, config, load_space("", protocol.config), run)
        jax.clear_caches()
        return sweep_report.summary(study) | cells.origin(config, data)


def curves(found: Mapping) -> np.ndarray:
    """`[runs, validations]`: each run's value at each validation, at last its best; higher is
    better. One that stopped early keeps its last one; runs that failed are left out.
    """
    sign = 1 if higher_is_better(found["objective"]) else -1
    done = [t for t in found["trials"] if t["state"] == "complete"]
    values = [[*t["validations"].values()] for t in done]
    most = max(map(len, values), default=0)
    padded = [own + own[-1:] * (most - len(own)) for own in values]
    return sign * np.array([[*own, t["value"]] for own, t in zip(padded, done)])


def correlations(values: np.ndarray) -> np.ndarray:
    """`[3, validations]`: Spearman's correlation of each validation with the run's value, and the
    ends of its interval by a bootstrap over the runs."""
    rng, count = np.random.default_rng(0), len(values)
    drawn = values[rng.integers(0, count, (REPEATS, count))]
    tail = (100 - LEVEL) / 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where all values are equal there is no correlation
        interval = np.nanpercentile(spearman(drawn), (tail, 100 - tail), axis=0)
        return np.array([*spearman(values[None]), *interval])


def spearman(values: np.ndarray) -> np.ndarray:
    """`[samples, validations]`, of `[samples, runs, validations]`: the correlation of each
    validation's ranks with those of the last; NaN where all values are equal."""
    ranks = rankdata(values, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    last = ranks[..., -1:]
    length = np.sqrt((ranks**2).sum(axis=1) * (last**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        return (ranks * last).sum(axis=1) / length


def halved(values: np.ndarray) -> tuple[np.ndarray, float]:
    """The runs that halving trains to the end, and how far their best is below the best of all."""
    left = np.arange(len(values))
    rung = 1
    while rung < values.shape[1]:
        best = np.argsort(-values[left, rung - 1], kind="stable")
        left, rung = left[best[: max(1, len(left) // THIRD)]], rung * THIRD
    return left, float(values[:, -1].max() - values[left, -1].max())


def page(found: Mapping, name: str) -> str:
    """The numbers as Markdown."""
    rows = []
    for entry, own in found.items():
        values = curves(own)
        ends = np.argsort(-values[:, -1], kind="stable")
        left, short = halved(values)
        rungs = [n for n in (1, THIRD) if n < values.shape[1]]
        told = []
        for some in (values, values[ends[: len(ends) // 2]]):
            of_some = correlations(some[:, [*(n - 1 for n in rungs), -1]])
            told += [correlation(*of_some[:, n]) for n in range(len(rungs))]
        rows.append((entry, str(len(values)), *told, str(len(left)), f"{1000 * short:.1f}"))
    shares = [f"after {n} of {values.shape[1]}" for n in rungs]
    halves = [f"better half, {share}" for share in shares]
    header = ("", "runs", *shares, *halves, "kept by halving", "loss by halving, AUC × 1000")
    return (
        f"# Early validations against the run's best: {name}\n\n{table(header, rows)}\n\n"
        "Spearman's correlation of a validation with the run's value, its best validation, over "
        "settings drawn at random from the tables' space and trained to the end, with "
        f"{LEVEL} % intervals (bootstrap over the settings). The better half are the settings that "
        "end best: among these it is harder to choose.\n"
    )


def correlation(rho: float, low: float, high: float) -> str:
    """'0.94 [0.72, 1.00]'; of too few settings, or of equal ones, there is none."""
    return "" if np.isnan(rho) else f"{rho:.2f} [{low:.2f}, {high:.2f}]".replace("-", "−")


def picture(found: Mapping, name: str) -> Figure:
    """The correlation over the course of a run, and the two rungs as scatter plots."""
    figure = Figure(figsize=(10.5, 3.4), layout="constrained")
    panels = figure.subplots(1, 3)
    for colour, (entry, own) in zip(COLOURS, found.items()):
        values = curves(own)
        rho, low, high = correlations(values)
        share = 100 * np.arange(1, values.shape[1] + 1) / values.shape[1]
        panels[0].plot(share, rho, "o-", color=colour, label=entry, ms=4)
        panels[0].fill_between(share, low, high, color=colour, alpha=0.15, lw=0)
        ranks = (-values).argsort(axis=0, kind="stable").argsort(axis=0) + 1  # 1: the best
        for axes, rung in zip(panels[1:], (1, THIRD)):
            axes.plot(ranks[:, rung - 1], ranks[:, -1], "o", color=colour, ms=4, alpha=0.8)
            axes.set_xlabel(f"rank at validation {rung} of {values.shape[1]}")
    panels[0].set(xlabel="% of the run", ylabel="Spearman's correlation with the best")
    panels[0].set_ylim(top=1.02)
    panels[0].legend(fontsize=8, frameon=False, loc="lower right")
    for axes, title in zip(panels, ("rank correlation", "first rung", "second rung")):
        clean(axes, title)
    for axes in panels[1:]:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=4))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=4))
    panels[1].set_ylabel("rank by the run's best (1: highest)")
    figure.suptitle(f"{name}: a validation against the best one of its run", x=0.01, ha="left")
    figure.text(0.99, 0, f"bands: {LEVEL} %, bootstrap over settings", ha="right", va="top", **NOTE)
    return figure


if __name__ == "__main__":
    command.run(main, RESUMES)
