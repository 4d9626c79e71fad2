"""The tables of docs/models.md, from what architectures and experts declare.

Run it from the repository after a change to a model: `python docs/tools/which_model.py`.
"""

from __future__ import annotations

import functools
import pathlib
import re
import sys

import jax

from configs.base import get_config
from dtn_jax.errors import UserError
from dtn_jax.models import build, flops
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.experts import EXPERTS
from dtn_jax.options import declared
from dtn_jax.run.state import example_inputs
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables.plan import make_plan

PAGE = pathlib.Path(__file__).parents[1] / "models.md"
BLOCK = re.compile(r"(<!-- (\w+): which_model\.py -->\n).*?(?=<!-- end -->)", re.S)
FIELDS = (Field("page", rows=4, role="scenario"), Field("user", role="prior"))
FIELDS += tuple(Field(f"field_{n}") for n in range(18))
CLICK = Task("click")
FUNNEL = Schema("funnel", FIELDS, (CLICK, Task("order", upstream=("click",))))
APART = Schema("apart", FIELDS, (CLICK, Task("order")))

# {name: (idea, when to use it)}
ARCHITECTURE_WORDS = {
    "dtn": (
        "each task gates its own group of diverse experts and, apart, all others; p(click) scales "
        "what the order task reads of click's",
        "you want this project's subject: tasks that read the same fields differently",
    ),
    "shared_bottom": (
        "all tasks read the same experts",
        "you need the plainest baseline, or tasks agree",
    ),
    "single_task": (
        "each task has a model of its own",
        "you want to know what sharing gains, or a CTR model alone",
    ),
    "mmoe": (
        "each task gates one pool of experts",
        "you start: it is cheap, and the usual baseline",
    ),
    "ple": (
        "each task gates its own and the shared experts, level by level",
        "tasks disturb each other under MMoE",
    ),
    "esmm": (
        "p(order) = p(click) p(order after click), on all impressions",
        "orders are known for clicks alone",
    ),
    "aitm": (
        "a task attends to what its upstream tasks hand on, and may not be likelier than they",
        "your tasks are a long funnel",
    ),
    "stem": (
        "each task has tables of its own beside shared ones; its loss trains no other task's",
        "tables, not layers, are what tasks disagree about, and memory suffices",
    ),
    "adatt": (
        "each task gates all experts and adds its own, level by level",
        "you would use PLE, with more exchange between tasks",
    ),
    "omoe": ("one gate for all tasks", "you want to know what MMoE's gates by task gain"),
    "cross_stitch": (
        "each level adds up all tasks' outputs with learned numbers",
        "you have few tasks, with networks of their own",
    ),
    "snr": (
        "learned switches say which expert feeds which task",
        "you want to prune connections, or look at who shares what",
    ),
    "dbmtl": (
        "a task's layers also read its upstream tasks' hidden outputs",
        "later tasks depend on earlier ones, not as a product of probabilities",
    ),
    "dselect_k": (
        "each task picks at most k shared experts, by binary codes",
        "gates should be sparse and say which expert a task uses",
    ),
    "metaheac": (
        "gates over shared experts and shared towers, by vectors of the tasks",
        "you have many tasks; the paper's meta-learning is left out",
    ),
    "fdn": (
        "pairs of experts hold what is a task's own and what is shared, kept apart by losses",
        "tasks' own parts should be free of what is shared",
    ),
    "escm2": (
        "ESMM with a loss that corrects for labels of clicked rows alone",
        "you compare with it: see [its bias](../experiments/results/known_answers.md)",
    ),
    "rankmixer": (
        "tokens of the fields and of the tasks mix by exchange of their parts",
        "you scale up: large products, no attention",
    ),
    "infnet": (
        "tokens of fields, histories and tasks exchange through few proxies",
        "fields and history items are many, and attention among all costs too much",
    ),
    "uniformer": (
        "tasks attend to tokens of fields and histories, after layers of these",
        "you scale up with long histories",
    ),
    "pepnet": (
        "gates from scenario and user scale embeddings and every layer of the towers",
        "you serve several pages, and know users well",
    ),
    "star": (
        "towers with weights that scenarios share, times weights of each one's own",
        "scenarios differ in size, and small ones must borrow",
    ),
    "hmoe": (
        "each scenario has a gate and towers, and towers of others help",
        "scenarios resemble each other in part",
    ),
    "mdl": (
        "tokens of tasks and scenarios attend to tokens of the fields",
        "you scale up with many scenarios and tasks",
    ),
    "m3oe": (
        "shared experts, those of the scenario and those of the task are added",
        "several scenarios times several tasks",
    ),
    "onetrans": (
        "one causal transformer over history items, then tokens of the fields",
        "you scale up, and histories say most",
    ),
}
EXPERT_WORDS = {
    "mlp": ("layers alone", "always as a yardstick"),
    "gdcn": ("a cross network with gates on its products", "you want one strong expert"),
    "masknet": ("masks made of the input multiply it", "beside a cross network, as DTN does"),
    "hcnet": ("a hashed memory of all pairs of values", "pairs of ids are worth remembering"),
    "dcnv2": ("a cross network, of full or low rank", "you want the usual strong baseline"),
    "fm": ("the sum of products of all pairs", "you want the cheapest interaction"),
    "deepfm": ("`fm` beside an MLP", "you want a classic baseline"),
    "fwfm": ("weighted inner products of pairs", "you want to see which pairs matter"),
    "pnn": ("inner or outer products before an MLP", "fields are few"),
    "fibinet": ("bilinear products, and weights of fields", "fields differ in importance"),
    "cin": ("products of each layer with the fields", "you compare with xDeepFM; it is expensive"),
    "afn": ("products of powers that are learned", "orders of interaction are unknown"),
    "final": ("layers that double the degree", "you want high degrees in few layers"),
    "finalmlp": ("two gated MLPs and a bilinear form", "you compare with a strong MLP"),
    "autoint": ("self-attention over fields", "you want attention without more layers"),
    "transformer": ("a transformer over fields", "you have the FLOPs"),
    "token_mixing": ("RankMixer's blocks on tokens", "you scale up an expert"),
    "wukong": ("stacked FMs and linear compressions", "you scale up by layers"),
}


def paper(owner: type) -> str:
    """The first sentence of its module's docstring, which names the paper."""
    text = " ".join(sys.modules[owner.__module__].__doc__.partition("\n\n")[0].split())
    return re.sub(r"\): .*", ")", text).removesuffix(".")


def needs(name: str) -> str:
    """What an architecture asks of the data."""
    owner = ARCHITECTURES[name]
    roles = [
        option.role for option in declared(owner).values() if option.role not in ("", "tokens")
    ]
    parts = [f"a field of role `{role}`" for role in roles]
    model = get_config().model
    model.architecture = name
    try:
        owner.check(APART, build.options_of(model, APART))
    except UserError:
        parts.append("tasks with an upstream task")
    if not owner.takes_experts:
        parts.append("takes no experts")
    return "; ".join(parts)


@functools.cache
def cost(architecture: str, experts: str) -> int:
    """Forward FLOPs an example, with defaults, of 20 fields of 16 numbers and two tasks."""
    model = get_config().model
    model.architecture, model.experts = architecture, experts
    module = build.build(model, FUNNEL)
    views, books = build.views(model, FUNNEL), build.codebooks(model, FUNNEL)
    plan = make_plan(FUNNEL, model, views, books, "cpu")
    return flops.count(module, jax.eval_shape(lambda: example_inputs(plan))).flops_per_example


def architectures() -> str:
    lines = ["| architecture | idea | use it if | FLOPs | needs | paper |"]
    lines.append("| --- | --- | --- | ---: | --- | --- |")
    for name, owner in ARCHITECTURES.items():
        idea, when = ARCHITECTURE_WORDS[name]
        share = cost(name, "mlp*2") / cost("mmoe", "mlp*2")
        cells = (f"`{name}`", idea, when, f"{share:.2g}", needs(name), paper(owner))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def experts() -> str:
    lines = ["| expert | interaction | use it if | FLOPs | paper |"]
    lines.append("| --- | --- | --- | ---: | --- |")
    for name, owner in EXPERTS.items():
        idea, when = EXPERT_WORDS[name]
        share = cost("mmoe", f"{name}*2") / cost("mmoe", "mlp*2")
        lines.append(f"| `{name}` | {idea} | {when} | {share:.2g} | {paper(owner)} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The page with today's tables."""
    tables = {"architectures": architectures(), "experts": experts()}
    return BLOCK.sub(lambda block: block[1] + tables[block[2]], PAGE.read_text())


if __name__ == "__main__":
    PAGE.write_text(page())
