"""Commands, flags and options that the pages name in their words exist."""

import importlib
import re

import page_blocks
import pytest
from example_files import ROOT
from page_commands import COMMAND

from dtn_jax.__main__ import commands
from dtn_jax.config import declarations
from dtn_jax.config.sections import SECTIONS
from dtn_jax.datasets.logs.schema import keys
from dtn_jax.export.model import Model
from experiments.command import Parser

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
CALL = re.compile(r"(?:dtn-jax |python -m experiments\.)([a-z]\w*)(?![\w.])")
FLAG = re.compile(r"(?<![\w=-])--([a-zA-Z][\w.-]*)")
OPTION = re.compile(rf"({'|'.join(filter(None, SECTIONS))}|split|time|input)\.([a-z0-9_.]+)(=.*)?")
FOREIGN = re.compile(r"xla_|kill-on-bad-exit|runner|filter")  # flags of XLA, srun, Beam and git
FILES = ("json", "py")  # model.json is no option

named = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


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
        for name in commands():
            with pytest.raises(Made) as made:
                importlib.import_module(f"experiments.{name}").main(["--help"])
            found[name] = {flag.lstrip("-") for flag in made.value.args[0]._option_string_actions}
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
            known = keys.SECTIONS.get(section, {})
            known = known if section != "model" else model
            assert f"{section}.{key}" in declarations() or key in known, text
