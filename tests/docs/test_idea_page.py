"""docs/idea.md: its excerpts stand in the files that it names, and its tables are complete."""

import re
import textwrap

import pytest
from example_files import ROOT

from configs import base
from dtn_jax.config import checked_config, flatten, override
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.experts import EXPERTS

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


@pytest.mark.parametrize(
    ("heading", "known"), [("The architectures", ARCHITECTURES), ("The experts", EXPERTS)]
)
def test_its_tables_name_all_there_are(heading, known):
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", section, re.M)) == sorted(known)


def test_what_is_one_option_away_can_be_set():
    section = PAGE.partition("\n## One option away\n")[2].partition("\n## ")[0]
    found = [text.split() for text in re.findall(r"`(model[^`]+=[^`]+)`", section)]
    assert len(found) >= 12
    for given in found:
        config = base.get_config()
        for pair in given:
            override(config, *pair.split("=", 1))
        assert flatten(checked_config(config)) != flatten(base.get_config()), given
