"""What the pages name in words and tables exists, and their numbers and excerpts are the code's."""

import importlib
import json
import re
import subprocess
import textwrap

import figures
import page_blocks
import pytest
import which_model
import yaml
from draw_speed import ROOT
from page_commands import COMMAND

from configs import base
from dtn_jax.balancing import BALANCERS
from dtn_jax.cli import COMMANDS, command, serve
from dtn_jax.cli.command import Parser
from dtn_jax.config import checked_config, declarations, flatten, override
from dtn_jax.config.sections import SECTIONS
from dtn_jax.data.schemas import key_models as keys
from dtn_jax.data.sets.catalog import DATASETS
from dtn_jax.export import score_files
from dtn_jax.export.model import Model
from dtn_jax.losses import LOSSES
from dtn_jax.metrics import METRICS
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.experts import EXPERTS
from dtn_jax.models.histories import HISTORIES
from experiments.benchmarks.measured import Goal
from experiments.results_table import BENCHMARK, RESULTS

MOVED = sorted(ROOT.glob("experiments/results/*.md"))  # pages once, and no tables of a command
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *MOVED,
]
CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
CALL = re.compile(r"(?:dtn-jax |python -m experiments\.)([a-z]\w*)(?![\w.])")
FLAG = re.compile(r"(?<![\w=-])--([a-zA-Z][\w.-]*)")
OPTION = re.compile(rf"({'|'.join(filter(None, SECTIONS))}|split|time|input)\.([a-z0-9_.]+)(=.*)?")
# Flags of XLA, srun, git, FuxiCTR and EasyRec.
FOREIGN = re.compile(r"xla_|kill-on-bad-exit|filter|expid|pipeline_config_path|export_dir")
PARTS = {"split": keys.SplitKeys, "time": keys.TimeKeys, "input": keys.InputKeys}
FILES = ("json", "py")  # config.json is no option
named = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


SCRIPTS = ("benchmark", "results_table", "importance_report", "generate_ali_ccp")
SCRIPTS += ("keep_tables", "known_answers", "references")


class Made(Exception):
    """Carries a command's parser."""


@pytest.fixture(scope="module")
def flags():
    """{command: its flags}."""

    def stop(parser, *_):
        raise Made(parser)

    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Parser, "parse_known_args", stop)
        for name in (*COMMANDS, *SCRIPTS):
            package = "dtn_jax.cli" if name in COMMANDS else "experiments"
            with pytest.raises(Made) as made:
                importlib.import_module(f"{package}.{name}").main(["--help"])
            parser = made.value.args[0]
            found[name] = {flag.lstrip("-") for flag in parser._option_string_actions}
            found[name] |= {"config.KEY"} if parser.config else set()
    found["launch"] |= found["train"]
    return found


def code(path):
    """What stands as code in a page's words, and its calls that do not run."""
    text = path.read_text()
    found = page_blocks.blocks(text)
    unrun = [b for b in found if "not run" in b.says and b.language == page_blocks.BASH]
    for b in reversed(found):
        text = text[: b.span[0]] + text[b.span[1] :]
    calls = [found[0] for b in unrun for line in b.lines for found in COMMAND.finditer(line)]
    return [*(" ".join(words.split()) for words in CODE.findall(text)), *calls]


@named
def test_commands_and_flags_exist(path, flags):
    for text in code(path):
        called = CALL.findall(text) or [name for name in text.split()[:1] if name in flags]
        assert set(called) <= set(flags), text
        known = set.union(*(flags[name] for name in called or flags))
        for flag in FLAG.findall(text):
            if flag.startswith("config.") and "config.KEY" in known:
                key = flag.removeprefix("config.")
                assert not key or not key.islower() or key in declarations(), text
            elif not FOREIGN.match(flag):
                assert flag in known, text


@named
def test_options_exist(path):
    model = {*vars(Model), *Model.__annotations__}  # of the pages' variable `model`
    for text in code(path):
        if (found := OPTION.fullmatch(text)) and found[2] not in FILES:
            section, key = found[1], found[2]
            known = PARTS[section].model_fields if section in PARTS else {}
            known = known if section != "model" else model
            assert f"{section}.{key}" in declarations() or key in known, text


ROW = re.compile(r"^\| ((?:`[^`]+`(?:, )?)+)", re.M)  # the names that its first cell begins with
TABLES = {
    ("losses.md", "One loss per task"): LOSSES,
    ("losses.md", "The balancers"): BALANCERS,
    ("metrics.md", "All metrics"): METRICS,
    ("data.md", "Which data sets there are"): {*DATASETS} - {"logs"},  # has a page of its own
    ("fields.md", "Histories"): {"''", *HISTORIES},
    ("models.md", "The architectures"): ARCHITECTURES,
    ("models.md", "The experts"): EXPERTS,
}


@pytest.mark.parametrize(("page", "heading"), TABLES)
def test_a_table_names_all_there_are(page, heading):
    text = (ROOT / "docs" / page).read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = section[section.index("\n| ---") :]
    named = [name for cell in ROW.findall(table) for name in re.findall(r"`([^`]+)`", cell)]
    assert sorted(named) == sorted(TABLES[page, heading])


@pytest.mark.parametrize("path", figures.files(), ids=lambda path: path.name)
def test_figures_in_sentences_are_those_of_the_results(path):
    text = path.read_text()
    assert figures.written(text) == text
    assert text.count("<!--=") == len(figures.PLACE.findall(text))
    assert not re.search(r"^ *<!--=", text, re.M)  # Markdown would take it for a block


def test_the_examples_for_clusters_parse():
    jobset = (ROOT / "docs/examples/jobset.yaml").read_text()
    assert [part["kind"] for part in yaml.safe_load_all(jobset)][-1] == "JobSet"
    for name in ("slurm", "tpu_pod"):
        subprocess.run(["bash", "-n", ROOT / f"docs/examples/{name}.sh"], check=True)


def test_readme_and_site_are_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
    pages = [path.read_text() for path in ROOT.glob("docs/*.md")]
    made = re.compile(r"<!-- (results: \w+|\w+: which_model\.py) -->.*?<!-- end -->", re.DOTALL)
    assert len(pages) <= 24
    assert sum(len(made.sub("", page).split()) for page in pages) <= 25_000
    assert len((ROOT / "docs/results.md").read_text().split()) <= 2500


@pytest.mark.slow
def test_which_model_is_of_todays_models():
    assert which_model.page() == which_model.PAGE.read_text()


PAGE = (ROOT / "docs/idea.md").read_text()
EXCERPT = re.compile(
    r"`(dtn_jax/[\w/]+\.py)`[^`]*(?:`\w+`[^`]*)*<!-- not run: shows form -->\n```python\n(.*?)```",
    re.DOTALL,
)


def lines(text):
    return [line for line in textwrap.dedent(text).splitlines() if line.strip()]


def test_each_excerpt_stands_in_its_file():
    found = EXCERPT.findall(PAGE)
    assert len(found) == PAGE.count("```python") == 4
    for name, excerpt in found:
        source, wanted = (ROOT / name).read_text().splitlines(), lines(excerpt)
        runs = (source[at : at + len(wanted)] for at in range(len(source)))
        assert any(lines("\n".join(run)) == wanted for run in runs), name


def test_what_is_one_option_away_can_be_set():
    section = PAGE.partition("\n## One option away\n")[2].partition("\n## ")[0]
    found = [text.split() for text in re.findall(r"`(model[^`]+=[^`]+)`", section)]
    assert len(found) >= 12
    for given in found:
        config = base.get_config()
        for pair in given:
            override(config, *pair.split("=", 1))
        assert flatten(checked_config(config)) != flatten(base.get_config()), given


PERFORMANCE = (ROOT / "docs/performance.md").read_text()


def test_it_names_the_missed_goals():
    text = PERFORMANCE.partition("\n## Goals\n")[2].partition("\n## ")[0].replace(",", "")
    found = [json.loads(path.read_text()) for path in (RESULTS / BENCHMARK).glob("*.json")]
    goals = [Goal(**goal) for one in found for goal in one["goals"]]
    missed = [goal for goal in goals if not goal.met]
    assert f"{len(goals) - len(missed)} of {len(goals)} goals are met" in text
    between = re.findall(r"([\d.]+) to ([\d.]+) times as long", text)
    told = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)}
    for goal in missed:
        got = float(f"{goal.got:.3g}")
        assert goal.wanted in told, goal
        assert got in told or any(float(a) <= got <= float(b) for a, b in between), goal


def test_the_page_of_faults_has_the_totals():
    rows = json.loads((RESULTS / BENCHMARK / "faults.json").read_text())["rows"]
    text = (ROOT / "docs/limits.md").read_text()
    told = dict(re.findall(r"^\| (\w+) \|.*\| ([\d,]+) \|$", text, re.M))
    known = {word: sum(row[word] for row in rows) for word in told}
    assert list(told) == ["survived", "named", "lost", "wrong"]
    assert told == {word: f"{count:,}" for word, count in known.items()}


def test_numbers_of_the_pages_are_those_of_the_code():
    page = (ROOT / "docs/serving.md").read_text()
    told = page.replace(",", "")
    assert f"chunks of {score_files.ROWS} rows" in told
    assert f"about {score_files.UNIT['rows']} rows" in told
    assert f"{score_files.UNIT['size'] >> 20} MiB" in told
    told = re.findall(r"`--(\w+)`\s+\(([\d,]+)\)", page)
    assert len(told) == 4
    known = command.parse(serve.__name__, ["--model=x"])[0]
    for name, number in told:
        assert getattr(known, name) == int(number.replace(",", "")), name
