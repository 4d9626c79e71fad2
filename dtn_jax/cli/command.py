"""What every command shares: its options, config overrides, and how it ends.

Configs, which know every data set, are imported where they are read: --help need not wait.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import pathlib
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dtn_jax.cli import quiet
from dtn_jax.errors import UserError, told
from dtn_jax.parallel import interrupts
from dtn_jax.report import screen
from dtn_jax.shipped import PACKAGE, config_files

if TYPE_CHECKING:
    from ml_collections import ConfigDict

CONFIGS = pathlib.Path("configs")
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
IN_CONFIG = {"data_dir": "data.data_dir", "manual_dir": "data.manual_dir", "plugins": "plugins"}
DATA = tuple(IN_CONFIG)


class Parser(argparse.ArgumentParser):
    """Raises UserError where argparse would print its usage and exit.

    Attributes:
      topics: {what --help=TOPIC may name: what it then prints}; '': a config's sections.
    """

    topics: Mapping[str, Callable[[], str]] = {}
    has_config = False

    def error(self, message: str):
        raise UserError(f"{message}\nSee --help.")

    def parse_known_args(self, args=None, namespace=None):
        known, rest = super().parse_known_args(args, namespace)
        if self.has_config:
            rest = written_out(known, rest)
        if known.help is not None:
            show_help(self, known, rest)
        for key in (word.partition("=")[0] for word in rest if not word.startswith("--config.")):
            if near := difflib.get_close_matches(key, self._option_string_actions, 1, 0.8):
                raise UserError(f"unknown argument {key!r}. Did you mean {near[0]}? See --help.")
        return known, rest


def parser(description: str, example: str) -> Parser:
    """A parser with the options that every command has.

    Args:
      description: of the command.
      example: a call of it.
    """
    made = Parser(
        prog=re.match(r"dtn-jax \w+|python -m \S+", example)[0],
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    how = {"nargs": "?", "const": "", "action": Help, "metavar": "SECTION"}
    made.add_argument("-h", "--help", **how, help="show this, or the options of a section")
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return made


def add(to: argparse._ActionsContainer, options: Mapping[str, str], **defaults: Any) -> None:
    """Adds options to a parser, or to a group of its options.

    Args:
      to: the parser or the group.
      options: {'out=FILE', or 'replace' for one without a value: its help}.
      defaults: {option: its default, of the type of its values}; of the others '' and False. --help
        shows those that are not empty.
    """
    for text, help in options.items():
        name, takes_value, metavar = text.partition("=")
        default = defaults.get(name, "" if takes_value else False)
        of_value = {"type": type(default), "metavar": metavar}
        shown = f"{help} (default {default})" if default else help
        more = of_value if takes_value else {"action": "store_true"}
        to.add_argument(f"--{name}", default=default, help=shown, **more)


def add_shared(made: Parser, *names: str) -> None:
    """Adds options of SHARED; called last, for --help shows them last."""
    options = {text: help for text, help in SHARED.items() if text.partition("=")[0] in names}
    add(made.add_argument_group("options of many commands"), options)


def require(known: argparse.Namespace, *names: str) -> None:
    """Raises UserError unless all of these options are given."""
    for name in names:
        if not getattr(known, name):
            raise UserError(f"--{name} is missing. See --help.")


def listed(text: str) -> list[str]:
    """The parts of an option's value, separated by commas."""
    return [part for part in text.split(",") if part]


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

    def __call__(self, made, namespace, value, option_string=None):
        setattr(namespace, self.dest, value)
        if not value or not made.has_config:
            show_help(made, namespace, ())


def show_help(made: Parser, known: argparse.Namespace, rest: Sequence[str]) -> None:
    """--help shows the command; --help=TOPIC one of its topics, or a config's section with the
    options of plug-ins."""
    if not known.help:
        made.print_help()
    elif known.help in made.topics:
        print(made.topics[known.help]())
    else:
        from dtn_jax.cli.option_help import option_help
        from dtn_jax.config import load_config

        if made.has_config:
            load_plugins(rest)
            if known.config:
                load_config(known.config)
        print(option_help(known.help))
    sys.stdout.flush()  # while `run` can still answer for a reader that has gone
    made.exit()


def add_config(made: Parser) -> None:
    """Adds --config, --schema and --model; `read_config` reads `--config.key=value`."""
    made.has_config = True
    made.usage = (
        "%(prog)s --config FILE[:ARGUMENT] [--config.KEY VALUE ...]\n"
        "       %(prog)s --schema FILE [--model NAME] [...], for your own logs"
    )
    files = ", ".join(config_files(CONFIGS))
    architectures = ", ".join(constant("models.architectures", "ARCHITECTURES"))
    experts = ", ".join(constant("models.experts", "EXPERTS"))
    options = {
        "config=FILE[:ARGUMENT]": f"a config file: {files} or your own. ARGUMENT is, by comma, an "
        "architecture, flags of the file, such as quick, and KEY=VALUE pairs",
        "schema=FILE": "your own prepared logs: --config=configs/logs.py:schema=FILE",
        "model=NAME": f"the architecture, if ARGUMENT names none: {architectures}",
    }
    add(made, options)
    made.add_argument_group(
        "--config.KEY VALUE",
        "overrides an option, such as --config.optim.learning_rate=3e-4 or\n"
        f"--config.model.experts='gdcn+mlp*2' (experts: {experts}).\n"
        "--help=all lists all options, each with its default, unit and reason;\n"
        "--help=SECTION lists those of a section: model, model.dtn, optim, train, ...",
    )


def written_out(known: argparse.Namespace, rest: Sequence[str]) -> list[str]:
    """The arguments for the config, with short options as what they stand for.

    Raises:
      UserError: --schema stands beside --config, or --model without either.
    """
    if known.schema:
        from dtn_jax.data.schemas.named_schema import quoted

        if known.config:
            raise UserError("--schema and --config both say what to train on: give one")
        known.config = f"configs/logs.py:schema={quoted(known.schema)}"
    if known.model:
        if not known.config:
            raise UserError(f"--model={known.model} of what? Give --schema=FILE or --config=FILE")
        path, _, argument = known.config.partition(":")
        known.config = f"{path}:{','.join(filter(None, [known.model, argument]))}"
    given = {key: getattr(known, name, "") for name, key in IN_CONFIG.items()}
    given["parallel.check_memory"] = "False" if getattr(known, "force", False) else ""
    return [*(f"--config.{key}={value}" for key, value in given.items() if value), *rest]


def read_config(spec: str, rest: Sequence[str]) -> ConfigDict:
    """Loads the config and applies `--config.key=value` (or `--config.key value`) arguments.

    Raises:
      UserError: there is no config, or an argument, key or value is wrong.
    """
    from dtn_jax.config import load_config, override

    given = overrides(rest)
    if not spec:
        files = ", ".join(config_files(CONFIGS))
        raise UserError(
            f"no config: give --config=FILE:ARGUMENT, FILE one of {files}, or --schema=FILE for "
            "your own logs. See --help."
        )
    load_plugins(rest)  # first: the config's argument may name what they define
    config = load_config(spec)
    for key, value in given:
        override(config, key, value)
    return config


def load_plugins(rest: Sequence[str]) -> None:
    """Loads the plug-ins that the arguments for the config name."""
    from dtn_jax.config import plugins

    plugins.load(",".join(value for key, value in overrides(rest) if key == "plugins"))


def tell_unused(configs: Sequence[ConfigDict], keys: Iterable[str]) -> None:
    """Says which of the options that were given change nothing in any of the configs."""
    from dtn_jax.config.unused import unused

    for line in unused(configs, keys):
        screen.say(f"note: {line}")


def overrides(rest: Sequence[str]) -> list[tuple[str, str]]:
    """The keys and values of `--config.key=value` arguments."""
    rest, found = list(rest), []
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
        found.append((key.removeprefix("--config."), value))
    return found


def run(main: Callable[[Sequence[str]], None], resumes: bool = False) -> None:
    """Runs a command. A UserError becomes a message and exit code 2, without a traceback.

    Args:
      main: takes the arguments.
      resumes: the command resumes from its last checkpoint; the message of an interruption says so.
    """
    arguments = sys.argv[1:]
    sys.unraisablehook = interrupt_again
    quiet.listen()
    more = "; the same command resumes from the last checkpoint" if resumes else ""
    interrupted = f"interrupted{more}"
    try:
        with interrupts.raised(interrupted):
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
        leave(interrupts.CODE, interrupted, at_once=True)  # XLA may have been compiling


def interrupt_again(lost) -> None:
    """Raises Ctrl-C again if it came where Python ignores exceptions, as in a destructor."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        again = (threading.main_thread().ident, signal.SIGINT)
        threading.Timer(0.1, signal.pthread_kill, again).start()
    elif not quiet.is_leftover(lost):
        sys.__unraisablehook__(lost)


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
