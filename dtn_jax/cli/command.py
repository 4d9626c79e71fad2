"""What every command shares: its options, config overrides, and how it ends.

Configs, which know every data set, are imported where they are read: --help need not wait.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import logging
import math
import os
import pathlib
import re
import sys
import textwrap
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dtn_jax.cli import compile_cache
from dtn_jax.errors import UserError, choose, told
from dtn_jax.parallel import interrupts
from dtn_jax.places import PACKAGE, config_choices, config_path, full_path, schema_path
from dtn_jax.report import screen

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from dtn_jax.config.sections import Declared

CONFIGS = pathlib.Path("configs")
FIRST = "mmoe,model.experts=mlp*4"  # for your own logs where no model is named
WIDTH, ALL = 92, "all"  # of --help=SECTION: its lines, and the word for every section
SHARED = {  # {option=VALUE: its help}; each command names those that it can use
    "data_dir=DIR": "where prepared sets are (default: where a finished run had them, else "
    "$DTN_DATA_DIR, else ~/.cache/dtn_jax)",
    "manual_dir=DIR": "where raw files are, in one folder per data set (default: where a finished "
    "run had them, else $DTN_MANUAL_DIR)",
    "plugins=FILES": "your own models, data sets, metrics and losses, by comma (default: those of "
    "a finished run; see dtn_jax/config/plugins.py)",
    "cache_dir=DIR": "where compiled programs are kept for the next start, a folder that only you "
    "can write; or none (default: $JAX_COMPILATION_CACHE_DIR, else ~/.cache/dtn_jax/compiled)",
    "force": "try even what cannot fit in memory",
}
RUN = "the workdir of a finished run"
POSITIVE = (1, math.inf)  # a range
INTERRUPTED = "interrupted; the same command goes on from what was saved, if anything was"
IN_CONFIG = {"data_dir": "data.data_dir", "manual_dir": "data.manual_dir", "plugins": "plugins"}
DATA = tuple(IN_CONFIG)
CONFIG_USAGE = """%(prog)s --config FILE[:ARGUMENT] [--config.KEY VALUE ...]
       %(prog)s --schema FILE [--model NAME] [...], for your own logs"""
DECLARED = ("options", "defaults", "config", "shared", "usage", "topics", "needed", "ranges")
DECLARED += ("choices", "modes", "existing")  # by constants of a command's module


class Parser(argparse.ArgumentParser):
    """The parser of a command, which has --help and --debug as every one.

    The docstring of the command's module is what --help says, EXAMPLE is a call, and these
    constants, in capitals, say what may be given; those that are not there are empty. It raises
    UserError where argparse would print its usage and exit.

    Attributes:
      options: {'out=FILE', or 'replace' for one without a value, or 'NAME' for an argument that
        must be given: its help}; or {the title of a group: its options}.
      defaults: {option: its default, of the type of its values, or that type: then None}; of the
        others '' and False. --help shows those that are not empty.
      config: whether it has --config, --schema and --model; `read_config` reads
        `--config.key=value`.
      shared: the options of SHARED that it has.
      usage: instead of argparse's own.
      topics: {what --help=TOPIC may name: what it then prints}; others are a config's sections.
      needed: options that must be given.
      ranges: {option: (the least, the most) that it may be, where it is given}.
      choices: {option: what it, or each of its parts by comma, may be}.
      modes: {option of which one alone is given: those that go with it}.
      existing: {option whose value, or each of its parts by comma, is a path: what is expected
        there}.
    """

    def __init__(self, module: str):
        names = vars(sys.modules[module])
        super().__init__(
            prog=re.match(r"dtn-jax \w+|python -m \S+", names["EXAMPLE"])[0],
            description=names["__doc__"],
            epilog=f"example:\n  {names['EXAMPLE']}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=False,
        )
        vars(self).update({name: names.get(name.upper(), {}) for name in DECLARED})
        self.usage = self.usage or (CONFIG_USAGE if self.config else None)
        how = {"nargs": "?", "const": "", "action": Help, "metavar": "SECTION"}
        self.add_argument("-h", "--help", **how, help="show this, or the options of a section")
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")
        if self.config:
            self.add(self, config_options())
            self.add_argument_group("--config.KEY VALUE", overridden())
        self.add(self, self.options)
        if self.shared:
            of_many = {t: help for t, help in SHARED.items() if t.partition("=")[0] in self.shared}
            self.add(self, {"options of many commands": of_many})

    def add(self, to: argparse._ActionsContainer, options: Mapping[str, Any]) -> None:
        """Adds options to the parser, or to a group of its options."""
        for text, help in options.items():
            name, takes_value, metavar = text.partition("=")
            default = self.defaults.get(name, "" if takes_value else False)
            kind, default = (default, None) if callable(default) else (type(default), default)
            shown = f"{help} (default {default})" if default else help
            more = {"type": kind, "metavar": metavar} if takes_value else {"action": "store_true"}
            if isinstance(help, Mapping):
                self.add(to.add_argument_group(text), help)
            elif text.isupper():
                to.add_argument(text, help=help)
            else:
                to.add_argument(f"--{name}", default=default, help=shown, **more)

    def error(self, message: str):
        raise UserError(f"{message}\nSee --help.")

    def parse_known_args(self, args=None, namespace=None):
        known, rest = super().parse_known_args(args, namespace)
        if self.config:
            rest = written_out(known, rest)
        if known.help is not None:
            show_help(self, known, rest)
        for key in (word.partition("=")[0] for word in rest if not word.startswith("--config.")):
            if near := difflib.get_close_matches(key, self._option_string_actions, 1, 0.8):
                raise UserError(f"unknown argument {key!r}. Did you mean {near[0]}? See --help.")
        self.check(known)
        return known, rest

    def check(self, known: argparse.Namespace) -> None:
        """Raises UserError where what is given is not what was declared."""
        given = {n: v for n, v in vars(known).items() if v != self.get_default(n)}
        modes = [name for name in self.modes if name in given]
        if self.modes and len(modes) != 1:
            raise UserError(f"give one of --{', --'.join(self.modes)}. See --help.")
        for name in given:
            where = [f"--{mode}" for mode, names in self.modes.items() if name in names]
            if where and name not in self.modes[modes[0]]:
                raise UserError(f"--{name} goes with {' or '.join(where)}, not with --{modes[0]}")
        require(known, *self.needed)
        for name, (least, most) in self.ranges.items():
            if name in given and not least <= given[name] <= most:
                above = f" and at most {most:,}" if most < math.inf else ""
                raise UserError(f"--{name}={given[name]}: expected at least {least:,}{above}")
        for name, choices in self.choices.items():
            for part in listed(getattr(known, name)):
                choose(name.removesuffix("s"), part, choices)
        for name in {"workdir", "out"} & {a.dest for a in self._actions if a.metavar == "DIR"}:
            for path in listed(getattr(known, name)):
                check_folder(path, name if name == "workdir" else f"--{name}")
        for name, what in self.existing.items():
            for path in listed(getattr(known, name)):
                if not full_path(path).exists():
                    raise UserError(f"{path} is not there; expected {what}")
        if getattr(known, "schema", ""):
            schema_path(known.schema)


def parse(module: str, arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """What a command is given: its own options, and the arguments for its config."""
    parser = Parser(module)
    known, rest = parser.parse_known_args(arguments)
    if rest and not parser.config:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if hasattr(known, "cache_dir"):
        compile_cache.use(known.cache_dir)
    return known, rest


def require(known: argparse.Namespace, *names: str) -> None:
    """Raises UserError unless all of these options are given."""
    for name in names:
        if not getattr(known, name):
            raise UserError(f"--{name} is missing. See --help.")


def check_folder(path: str, what: str) -> None:
    """Raises UserError if a path can be none of a folder, which need not be there."""
    full = full_path(path)
    if what == "workdir" and set(str(full)) & set("*?[]"):  # Orbax reads globs
        raise UserError(f"workdir {full} has one of * ? [ ] in it; give another name")
    for place in (full, *full.parents):
        if place.is_file():
            raise UserError(f"{what} {full}: {place} is a file, expected a folder")


def check_finished(places: str) -> None:
    """Raises UserError where a run, or a replica, in a folder is not finished; other folders, such
    as exported models, are not looked at. It is quick: nothing is loaded.

    Args:
      places: folders, by comma.
    """
    from dtn_jax.run import outcome

    for place in listed(places):
        for folder in outcome.runs_in(pathlib.Path(place).expanduser()):
            if (folder / "config.json").exists() and not (folder / "manifest.json").exists():
                outcome.check_finished(folder)


def listed(text: str) -> list[str]:
    """The parts of an option's value, separated by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def constant(module: str, name: str) -> Any:
    """A constant of a module of dtn_jax, or of a class there; of a table of classes its names.

    It is read without importing the module, for --help.
    """
    path = PACKAGE / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.walk(ast.parse(file.read_text())):
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        if name in [getattr(target, "id", "") for target in targets]:
            try:
                return ast.literal_eval(node.value)
            except ValueError:
                return [key.value for key in node.value.keys]


class Help(argparse.Action):
    """--help ends the parsing at once; --help=SECTION waits for --config and its plug-ins."""

    def __call__(self, parser, namespace, value, option_string=None):
        setattr(namespace, self.dest, value)
        if not value or not parser.config:
            show_help(parser, namespace, ())


def show_help(parser: Parser, known: argparse.Namespace, rest: Sequence[str]) -> None:
    """--help shows the command; --help=TOPIC one of its topics, or a config's section with the
    options of plug-ins."""
    if not known.help:
        parser.print_help()
    elif known.help in parser.topics:
        print(parser.topics[known.help]())
    else:
        from dtn_jax.config import load_config

        if parser.config:
            load_plugins(rest)
            if known.config:
                load_config(known.config)
        print(option_help(known.help))
    sys.stdout.flush()  # while `run` can still answer for a reader that has gone
    parser.exit()


def option_help(wanted: str) -> str:
    """The options of a section, such as `model` or `model.dtn`, of `all`, or one by its key.

    Raises:
      UserError: no such section.
    """
    from dtn_jax.config import declarations  # late, as it takes a second
    from dtn_jax.config.sections import SECTIONS

    known = declarations().values()
    shown = [d for d in known if wanted in (ALL, d.key)]
    if not shown:
        inner = {place for d in known for place in places(d)} - {*SECTIONS}
        choose("section in --help=", wanted, [*filter(None, SECTIONS), *sorted(inner), ALL])
        shown = [d for d in known if wanted in places(d)]
    indent, lines = " " * 4, []
    for key, option in ((d.key, d.option) for d in shown):
        lines.append(f"--config.{key}={repr('') if option.default == '' else option.default}")
        runtime = "; may change when a run resumes" if option.runtime else ""
        text = f"{option.help} [{option.expected}{runtime}]"
        lines += textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent)
    return "\n".join(lines)


def places(option: Declared) -> set[str]:
    """The sections, and the parts of them with options of their own, that show an option."""
    parts = [f"{option.family.section}.{name}" for name in option.members] if option.family else []
    return {*parts, option.key.partition(".")[0] if "." in option.key else ""}


def config_options() -> dict[str, str]:
    architectures = ", ".join(constant("models.architectures", "ARCHITECTURES"))
    return {
        "config=FILE[:ARGUMENT]": f"{config_choices(CONFIGS)}, or your own. ARGUMENT is, by "
        "comma, an architecture, flags of the file, such as quick, and KEY=VALUE pairs",
        "schema=FILE": "your own prepared logs: --config=configs/logs.py:schema=FILE",
        "model=NAME": f"the architecture, if ARGUMENT names none: {architectures} (with --schema "
        "the default is mmoe with mlp*4)",
    }


def overridden() -> str:
    """What --help says of `--config.KEY VALUE`."""
    experts = ", ".join(constant("models.experts", "EXPERTS"))
    text = (
        "overrides an option, such as --config.optim.learning_rate=3e-4 or "
        f"--config.model.experts='gdcn+mlp*2' (experts: {experts}). --help=all lists all options, "
        "each with its default, unit and reason; --help=SECTION lists those of a section: model, "
        "model.dtn, optim, train, ..."
    )
    return textwrap.fill(text, 78, break_on_hyphens=False)


def written_out(known: argparse.Namespace, rest: Sequence[str]) -> list[str]:
    """The arguments for the config, with short options as what they stand for.

    Raises:
      UserError: --schema stands beside --config.
    """
    if known.schema:
        if known.config:
            raise UserError("--schema and --config both say what to train on: give one")
        known.config = f"configs/logs.py:schema={known.schema}"
        if not known.model and not any(a.startswith("--config.model.architecture") for a in rest):
            known.model = FIRST
            screen.say("no --model is given: mmoe with four MLPs, which docs/models.md begins with")
    if known.model and known.config:
        path, _, argument = known.config.partition(":")
        known.config = f"{path}:{','.join(filter(None, [known.model, argument]))}"
    return [*(f"--config.{key}={value}" for key, value in shared_options(known).items()), *rest]


def shared_options(known: argparse.Namespace) -> dict[str, str]:
    """{key of a config: its value}, of the options of SHARED that are given."""
    given = {key: getattr(known, name, "") for name, key in IN_CONFIG.items()}
    given["parallel.check_memory"] = "False" if getattr(known, "force", False) else ""
    return {key: value for key, value in given.items() if value}


def read_config(spec: str, rest: Sequence[str]) -> ConfigDict:
    """Loads the config and applies `--config.key=value` (or `--config.key value`) arguments.

    Raises:
      UserError: there is no config, or an argument, key or value is wrong.
    """
    given = overrides(rest)
    if not spec:
        raise UserError(
            "no config: give --config=FILE:ARGUMENT or, for your own logs, --schema=FILE; "
            f"{config_choices(CONFIGS)}. See --help."
        )
    config_path(spec.partition(":")[0])
    from dtn_jax.config import load_config, override  # after what needs no options
    from dtn_jax.config.files import check_given

    load_plugins(rest)  # first: the config's argument may name what they define
    config = load_config(spec)
    for key, value in given:
        override(config, key, value)
    check_given(config, [key for key, _ in given])
    return config


def load_plugins(rest: Sequence[str]) -> None:
    """Loads the plug-ins that the arguments for the config name."""
    from dtn_jax.config import plugins

    plugins.load(",".join(value for key, value in overrides(rest) if key == "plugins"))


def tell_unused(config: ConfigDict, rest: Sequence[str]) -> None:
    """Says which of the arguments for the config change nothing in it."""
    from dtn_jax.config.identity import unused

    for line in unused(config, [key for key, _ in overrides(rest)]):
        screen.say(f"note: {line}")


def overrides(rest: Sequence[str]) -> list[tuple[str, str]]:
    """The keys and values of `--config.key=value` arguments."""
    rest, pairs = list(rest), []
    while rest:
        key, equals, value = rest.pop(0).partition("=")
        if not key.startswith("--config."):
            from dtn_jax.config.files import did_you_mean

            hint = did_you_mean(key[2:], "--config.") if key.startswith("--") else ""
            if key.partition(":")[0].endswith(".py"):
                hint = f" Did you mean --config={key}?"
            raise UserError(f"unknown argument {key!r}.{hint} See --help.")
        if not equals:
            if not rest:
                raise UserError(f"{key} has no value: give {key}=VALUE")
            value = rest.pop(0)
        pairs.append((key.removeprefix("--config."), value))
    return pairs


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Runs a command, which takes the arguments. A UserError becomes a message and exit code 2,
    without a traceback."""
    arguments = sys.argv[1:]
    sys.unraisablehook = end_or_show
    logging.getLogger("asyncio").addFilter(is_news)
    try:
        with interrupts.raised(INTERRUPTED):
            main(arguments)
            sys.stdout.flush()
    except BrokenPipeError:  # who read the output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        leave(1)
    except (UserError, OSError) as error:
        if "--debug" in arguments:
            raise
        of_disk = isinstance(error, OSError)
        leave(2, f"error: {told(error) if of_disk else error}", at_once=of_disk)
    except Exception:
        if not distributed():
            raise
        traceback.print_exc()
        leave(1)
    except KeyboardInterrupt:
        leave(interrupts.CODE, INTERRUPTED, at_once=True)  # XLA may have been compiling


def end_or_show(lost) -> None:
    """Ends the process where Ctrl-C came while Python ignores exceptions, as in a destructor; shows
    what else is ignored there."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        interrupts.end()
    # That is TensorStore's, once for each array, where one could not be written: an error says so.
    if str(lost.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(lost)


def is_news(record: logging.LogRecord) -> bool:
    """Not what the disk did to a file that Orbax was writing as the command ended by an error."""
    left = record.getMessage().startswith("Future exception was never retrieved")
    return not (left and record.exc_info and isinstance(record.exc_info[1], OSError))


def distributed() -> bool:
    """Whether this is one of several processes; JAX is not imported for the answer."""
    return "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized()


def leave(code: int, message: str = "", at_once: bool = False) -> None:
    """Ends the process, with a message on stderr.

    It ends at once if asked to, since an orderly end may crash in interrupted work, or write to a
    full disk, and if there are other processes, for which it would wait while they wait for it.
    """
    if message:
        print(message, file=sys.stderr)
    if at_once or distributed():
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:  # their reader may be gone
            os._exit(code)
    sys.exit(code)
