# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Do your tasks disagree about features?
#
# DTN gives each task its own feature interactions. That can help if tasks read the same fields
# differently. Before you pay for it, ask your data: which fields does each task depend on, and do
# the tasks differ by more than noise? This notebook trains DTN on the included `adult` data set
# and answers these questions in a few minutes; change a line to use your own run instead.

# %%
import os
import pathlib

import matplotlib.pyplot as plt
import numpy as np
import polars as pl

from dtn_jax.analysis.explain import Settings, explain
from dtn_jax.analysis.finished import best_state, read_history
from dtn_jax.config import load_config
from dtn_jax.run.run import build_run
from dtn_jax.run.train import train

SMALL = os.environ.get("DTN_NOTEBOOK") == "small"  # for a test: minutes become seconds
STEPS, ROWS, REPEATS = (10, 2_100, 2) if SMALL else (0, 20_000, 5)  # 0 steps: all epochs
HOME = pathlib.Path("do_your_tasks_disagree")
PICTURES = HOME / "pictures"
PICTURES.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## Train DTN
#
# The two tasks are about the same people: is their income above 50K, and have they never married?
# For your own run, write its config and folder here; a finished run is not trained again.

# %%
config = load_config("configs/adult.py:dtn")
config.train.max_steps = STEPS
workdir = HOME / "run"
results = train(config, workdir)
for key, found in results["test"].items():
    print(f"{key:20} AUC {found['auc']:.4f}, {found['positives']:,} positives")

# %% [markdown]
# ## Ask the run
#
# `explain` reads validation rows and the state that the run kept. Permutation importance is the
# drop of a task's AUC when a field's values are shuffled among the rows. It shows what the
# *model* loses without the field, not how much information the field holds: if two fields say the
# same, a model may use either.

# %%
run = build_run(config)
state, step = best_state(run, workdir)
settings = Settings(methods=("permutation",), rows=ROWS, repeats=REPEATS)
found = explain(run, state, settings, read_history(workdir))
print(f"the state of step {step}, {found['rows']:,} validation rows")

# %% [markdown]
# ## Which fields does each task depend on?
#
# Each bar has a 95 % interval, which says how far another sample of as many rows would move it.
# Another *training* may move it further; repeat with two or three seeds before you act on a small
# difference.

# %%
table = pl.DataFrame(found["importance"])  # a row a task and field
tasks = table["key"].unique(maintain_order=True)
fields = table.group_by("field").agg(pl.max("importance")).sort("importance")["field"]

figure, axes = plt.subplots(figsize=(7, 0.4 * len(fields) + 1), layout="constrained")
for at, task in enumerate(tasks):
    height = 0.8 / len(tasks)
    places = np.arange(len(fields)) + (at - (len(tasks) - 1) / 2) * height
    rows = fields.to_frame().join(table.filter(key=task), "field", "left", maintain_order="left")
    half = rows["high"] - rows["importance"]
    axes.barh(places, rows["importance"], height, xerr=half, label=task)
axes.set_yticks(range(len(fields)), fields)
axes.set_xlabel("drop of AUC when the field is permuted")
axes.legend(reverse=True)  # as the bars stand
figure.savefig(PICTURES / "importance.png")
plt.show()

# %% [markdown]
# ## Do they disagree, beyond noise?
#
# The divergence of two tasks is 1 minus the Spearman correlation of their importances: 0 if they
# rank the fields alike, 1 if the rankings are unrelated, and 2 if one is the reverse of the
# other. Noise alone causes some divergence, because fields that do not matter are ranked
# differently from sample to sample. So compare it with *noise alone*: the divergence of one task
# from itself, on two independent samples.

# %%
disagree = []
for row in found["divergence"]:
    pair = row["left"], row["right"]
    noise = max(row["noise_left"], row["noise_right"])
    beyond = row["low"] > noise
    disagree += [pair] if beyond else []
    print(
        f"{' and '.join(pair)}: {row['divergence']:.2f} ({row['low']:.2f} to {row['high']:.2f}), "
        f"noise alone {noise:.2f}: {'they disagree' if beyond else 'no more than noise'}"
    )

# %% [markdown]
# ## Does the model act on it?
#
# Gates weigh experts for each row. If a gate's weights are nearly equal in every row, it does not
# choose. `evenness` is the mean entropy of a row's weights divided by that of equal weights: at
# 98 % or more, the gate hardly chooses, whatever the importances say. In that case the task
# groups differ because their *experts* have learned different things, or not at all.

# %%
for row in found["gates"]:
    if row["part"] == "all rows":
        print(f"{row['gate']}: {row['source']} {row['weight']:.0%}")
for row in found["evenness"]:
    print(f"{row['gate']}: evenness {row['evenness']:.1%}")
for line in found["collapse"]:
    print("collapse:", line)

# %% [markdown]
# ## Do their gradients conflict?
#
# At the embeddings that tasks share, two gradients may point in opposite directions. If the whole
# interval of their cosine is below 0, what helps one task hurts the other in this state of the
# model.

# %%
for row in found["conflict"]:
    print(f"{row['tasks']}: cosine {row['cosine']:+.2f} ± {row['half']:.2f}")

# %% [markdown]
# ## What to do with it

# %%
if disagree:
    print("Tasks disagree:", "; ".join(" and ".join(pair) for pair in disagree))
    print("Worth trying: dtn with diverse experts, stem (embeddings of each task's own), ple.")
else:
    print("No disagreement beyond noise: try shared_bottom or mmoe first; they cost less.")

# %% [markdown]
# Disagreement is a reason to try, not a result. To learn whether task-specific interactions pay,
# compare tuned models on several seeds: `dtn-jax paper_tables --table=overall`, or
# `--table=interactions` for the same experts in every architecture. On census-income the tasks
# disagree, and yet no architecture with the same experts differs significantly from DTN: see
# [results](../results.md).
#
# - [Importance by task](../importance.md): the same analysis as a command, with another method
#   and pictures by user segment.
# - [The idea](../idea.md): what DTN does with tasks that disagree.
