# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # DTN on your logs
#
# This notebook goes from a log in Parquet to a model that scores new rows, in Python. It infers a
# schema, prepares the log, trains DTN and MMoE on a few seeds, compares them with intervals,
# exports DTN and scores rows with it. To use your own data, replace the generated log by your
# files. It takes a few minutes on a laptop.

# %%
import json
import os
import pathlib

import matplotlib.pyplot as plt
import numpy as np
import polars as pl

import dtn_jax.export
from dtn_jax.config import load_config
from dtn_jax.data.infer.infer import infer
from dtn_jax.data.prepare import prepare
from dtn_jax.export.write import export_run
from dtn_jax.metrics.scores import read_predictions
from dtn_jax.metrics.significance import FEW, compare, resampled_aucs
from dtn_jax.run.train import train

SMALL = os.environ.get("DTN_NOTEBOOK") == "small"  # for a test: minutes become seconds
ROWS, SEEDS, STEPS = (4_000, 2, 10) if SMALL else (100_000, 3, 0)  # 0 steps: all epochs
HOME = pathlib.Path("dtn_on_your_logs")
HOME.mkdir(exist_ok=True)

# %% [markdown]
# ## A log
#
# The log covers ten days of a shop: who saw which item when, and did a click, a cart and an order
# follow? An order needs a cart, and a cart needs a click. Clicks depend on the user's taste and
# on the item; carts and orders depend on the price.

# %%
rng = np.random.default_rng(0)
user, item = rng.integers(0, 500, ROWS), np.minimum(rng.zipf(1.3, ROWS), 300)
taste, kind = rng.normal(size=(501, 4)), rng.integers(0, 4, 301)
price = np.exp(rng.normal(2.5, 0.8, 301)).round(2)
seconds = np.sort(rng.integers(0, 10 * 86_400, ROWS))


def happens(log_odds):
    return rng.random(ROWS) < 1 / (1 + np.exp(-log_odds))


click = happens(1.5 * taste[user, kind[item]] - 0.5)
cart = click & happens(2 - 0.8 * np.log(price[item]) + 0.5 * taste[user, 0])
order = cart & happens(1.5 - 0.5 * np.log(price[item]))
log = pl.DataFrame(
    {
        "user_id": user,
        "item_id": item,
        "category": kind[item],
        "price": price[item],
        "t": pl.Series(seconds).cast(pl.Int64) + 1_772_323_200,  # seconds since 1970
        "click": click.astype(int),
        "cart": cart.astype(int),
        "order": order.astype(int),
    }
)
log.write_parquet(HOME / "log.parquet")
print(log.head(5))

# %% [markdown]
# ## What does it hold?
#
# `infer` looks at a sample and writes a schema file with comments. Read it: every guess is
# marked. Here we use it unchanged.

# %%
infer(
    [str(HOME / "log.parquet")],
    HOME / "shop.yaml",
    labels=["click", "cart", "order"],
    time="t",
    group="user_id",
    replace=True,
)
print((HOME / "shop.yaml").read_text())

# %% [markdown]
# ## Prepare
#
# Ids, buckets and scales are fitted on train alone. Rows that do not fit the schema are counted
# by reason and kept beside the data set; here there are none.

# %%
made = prepare(HOME / "shop.yaml", str(HOME / "log.parquet"), HOME / "data", processes=1)
print(made.rows, "rows in", made.folder)

# %% [markdown]
# ## Train DTN and MMoE
#
# Both get the same kinds of experts, settings and seeds, so that only the architecture differs. A
# finished run is not trained again: a second call returns its results.
#
# A fair comparison tunes each model with the same number of trials: use `dtn-jax sweep`, or
# `dtn-jax paper_tables`, which does all of this. What follows is a first look.

# %%
MODELS = ("mmoe", "dtn")


def run_of(architecture, seed):
    config = load_config(f"configs/logs.py:{architecture},quick,schema={HOME}/shop.yaml")
    config.data.data_dir = str(HOME / "data")
    config.model.experts = "gdcn+mlp"
    config.seed = seed
    config.train.max_steps = STEPS
    workdir = HOME / "runs" / f"{architecture}_{seed}"
    return workdir, train(config, workdir)


runs = {name: [run_of(name, seed) for seed in range(1, SEEDS + 1)] for name in MODELS}
keys = [key for key, found in runs["dtn"][0][1]["test"].items() if "auc" in found]
for name in MODELS:
    for key in keys:
        aucs = [results["test"][key]["auc"] for _, results in runs[name]]
        print(f"{name:5} {key:12} AUC", *(f"{auc:.4f}" for auc in aucs))

# %% [markdown]
# ## Is the difference real?
#
# With other test rows or other seeds, the difference would not be the same. So both are resampled
# thousands of times; whole users are drawn, because the rows of a user are not independent. With
# fewer than 100 positives the rows say too little, and you should call no difference significant.


# %%
def drawn_of(workdir):
    scores = read_predictions(workdir / "predictions.parquet", made.schema)
    return resampled_aucs(scores, made.schema)


draws = {name: [drawn_of(workdir) for workdir, _ in runs[name]] for name in MODELS}
differences = {}
for key in keys:
    values = [[results["test"][key]["auc"] for _, results in runs[n]] for n in ("dtn", "mmoe")]
    if None in [*values[0], *values[1]]:
        continue  # one class alone: no AUC
    drawn = [np.stack([one[key] for one in draws[name]]) for name in ("dtn", "mmoe")]
    found = differences[key] = compare(*drawn, *map(np.array, values))
    positives = runs["dtn"][0][1]["test"][key]["positives"]
    few = f"  only {positives} positives" if positives < FEW else ""
    print(f"{key:12} {found.difference:+.4f} ({found.low:+.4f} to {found.high:+.4f}){few}")

# %%
figure, axes = plt.subplots(figsize=(6, 0.5 * len(differences) + 1), layout="constrained")
for place, found in enumerate(differences.values()):
    axes.plot([found.low, found.high], [place, place], color="tab:blue")
    axes.plot(found.difference, place, "o", color="tab:blue")
axes.axvline(0, color="grey", linewidth=1)
axes.set_yticks(range(len(differences)), list(differences))
axes.invert_yaxis()  # in the order above
axes.set_xlabel("AUC of DTN less that of MMoE, with its 95 % interval")
figure.savefig(HOME / "differences.png")
plt.show()

# %% [markdown]
# If an interval contains 0, these rows and seeds cannot tell the two models apart. More seeds
# reduce the uncertainty from training; more test rows reduce the rest. DTN has four groups of
# experts here and MMoE one, so a gain may come from DTN's size: `paper_tables --table=matched`
# shows whether it does.
#
# ## Score new rows
#
# The exported folder holds program, weights, encoders and calibration, and needs no training
# code. Raw rows go in, and calibrated probabilities come out. A score is named after a task and
# its *space*, the rows for which it holds: `order@cart` is the probability of an order for rows
# that were put into the cart.

# %%
export_run([runs["dtn"][0][0]], HOME / "model", replace=True)
model = dtn_jax.export.load(HOME / "model")
tomorrow = log.tail(5).drop("click", "cart", "order")
print(model.score(tomorrow))

# %%
card = json.loads((HOME / "runs/dtn_1/results.json").read_text())
print(f"{card['parameters']:,} dense parameters, {card['flops_per_example']:,} FLOPs per example")

# %% [markdown]
# ## From here
#
# - [Your own logs](../logs.md): kinds of fields, histories, sampling, splits, what is rejected.
# - [Paper tables](../tables.md): the same comparison for all architectures, equally tuned, and
#   corrected for multiple tests.
# - [Serving](../serving.md): this folder behind HTTP.
# - [Do your tasks disagree about features?](do_your_tasks_disagree.md): why a model ranks as it
#   does.
