"""Which modules are public, by page of the API.

Public is, of each module here, every class and function whose name has no leading underscore, and
every constant with a docstring; or, of one with `__all__`, what that names. A package here may also
be asked for what it takes from another module here. A module that is not here may change without
notice.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Page:
    """A page: its title, what it is for, the modules of dtn_jax that it shows."""

    title: str
    words: str
    modules: tuple[str, ...]


PAGES = {
    "training": Page(
        "Training and evaluating",
        "`train` is a whole run. The others are its parts, for loops of your own.",
        (
            "train",
            "run",
            "replicas",
            "results",
            "evaluate",
            "selection",
            "timetable",
            "state",
            "step",
            "gradients",
            "optimizers",
            "checkpoint",
            "checkpoint.start_from",
            "workdir.found",
        ),
    ),
    "config": Page(
        "Configs and options",
        "How options are declared, how configs are loaded and checked, how your own files join.",
        ("config", "config.identity", "config.plugins", "options", "errors"),
    ),
    "data": Page(
        "Data sets",
        "What a model sees of data, and what to write for a data set of your own.",
        (
            "schema",
            "field",
            "data.sets.data_set",
            "data.blocks",
            "data.sets.catalog",
            "data.prepared",
            "data.epochs.reader",
        ),
    ),
    "logs": Page(
        "Logs and schema files",
        "What `dtn-jax prepare` does with logs, as functions.",
        (
            "data.prepare",
            "data.sets.logs",
            "data.infer.infer",
            "data.schemas.schema_file",
            "data.schemas.spec",
            "data.describe.describe",
        ),
    ),
    "sets": Page(
        "Built-in data sets",
        "The builders behind `data.dataset`.",
        (
            "data.sets.adult",
            "data.sets.census_income",
            "data.sets.ali_ccp",
            "data.sets.kuairand",
            "data.sets.aliexpress",
            "data.sets.movielens",
            "data.sets.synthetic.builder",
            "data.sets.synthetic.funnel",
            "data.sets.synthetic.known_answer",
        ),
    ),
    "models": Page(
        "Models",
        "What passes between data and models, and the parts that architectures are made of.",
        (
            "interface",
            "models.build",
            "models.groups",
            "models.gates",
            "models.tower",
            "models.layers",
            "models.dropout",
            "models.normalisation",
            "models.vectors",
            "models.numbers.autodis",
            "models.numbers.periodic",
            "models.numbers.piecewise_linear",
            "models.histories.pooling",
            "models.histories.din",
            "models.histories.target_attention",
            "models.histories.bst",
            "models.flops",
        ),
    ),
    "architectures": Page(
        "Architectures and experts",
        "Who reads which experts, and the experts themselves.",
        (
            "models.architectures",
            "models.architectures.architecture",
            "models.architectures.dtn",
            "models.architectures.shared_bottom",
            "models.architectures.single_task",
            "models.architectures.mmoe",
            "models.architectures.ple",
            "models.architectures.esmm",
            "models.architectures.aitm",
            "models.architectures.stem",
            "models.architectures.adatt",
            "models.experts",
            "models.experts.mlp",
            "models.experts.gdcn",
            "models.experts.masknet",
            "models.experts.hcnet",
            "models.experts.dcnv2",
        ),
    ),
    "losses": Page(
        "Losses and balancing",
        "What a row of a task costs, and how much each task pulls.",
        (
            "losses",
            "losses.by_task",
            "losses.cross_entropy",
            "losses.squared_error",
            "losses.huber",
            "losses.focal",
            "losses.log_normal",
            "losses.weighted_logistic",
            "losses.ordinal",
            "losses.d2q",
            "losses.pairwise",
            "balancing",
            "balancing.balancer",
            "balancing.uncertainty",
            "balancing.pcgrad",
        ),
    ),
    "metrics": Page(
        "Metrics and statistics",
        "Numbers of a task's scores, each usable alone on NumPy arrays, and tests of differences.",
        (
            "metrics",
            "metrics.metric",
            "metrics.scores",
            "metrics.sigmoid",
            "metrics.selected",
            "metrics.auc",
            "metrics.within_groups",
            "metrics.gains",
            "metrics.log_loss",
            "metrics.calibration",
            "metrics.regression",
            "metrics.rates",
            "metrics.influence",
            "metrics.paired",
            "metrics.significance",
        ),
    ),
    "analysis": Page(
        "Analysis",
        "What a trained model uses, task by task, and how tasks agree.",
        (
            "analysis.explain",
            "analysis.importance",
            "analysis.bayes",
            "analysis.rank",
            "analysis.segments",
            "analysis.gate_use",
            "analysis.conflict",
            "analysis.pairs",
            "analysis.finished",
            "analysis.watch",
        ),
    ),
    "tables": Page(
        "Paper tables",
        "What a protocol of your own is written with.",
        ("papertables.protocol",),
    ),
    "export": Page(
        "Exported models and serving",
        "Write a model, load it, score rows. `dtn_jax.export.load` needs no training code.",
        (
            "export",
            "export.encoding",
            "export.ranking",
            "export.score_files",
            "export.fit_calibration",
            "export.write",
            "export.serve.process",
            "export.serve.limits",
        ),
    ),
}
