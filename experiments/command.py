"""What every command shares: its options, config overrides, and errors without tracebacks."""

from __future__ import annotations

import argparse
import os
import pathlib
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence

import jax
from ml_collections import ConfigDict

from dtn_jax.config import config_files, load_config, override, plugins
from dtn_jax.config.sections import SECTIONS
from dtn_jax.errors import UserError
from dtn_jax.models.build import ARCHITECTURES
from dtn_jax.models.experts import EXPERTS

from .option_help import option_help

CONFIGS = pathlib.Path("configs")
MODULES, CONSOLE = "python -m experiments.", "dtn-jax "  # how commands are called


class Parser(argparse.ArgumentParser):
    """Raises UserError where argparse would print its usage and exit."""

    def error(self, message: str):
        raise UserError(f"{message}\nSee --help.")


def parser(description: str, example: str) -> Parser:
    """A parser with the options that every command has."""
    if __package__ != "experiments":  # an installed package's
        example = example.replace(MODULES, CONSOLE)
    made = Parser(
        prog=example.partition(" --")[0],
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    made.add_argument("-h", "--help", nargs="?", action=Help, help="show this and exit")
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return made


class Help(argparse.Action):
    """--help shows the command; --help=SECTION the options of a config's section."""

    def __call__(self, parser, namespace, value, option_string=None):
        if value is None:
            parser.print_help()
        else:
            print(option_help(value))
        parser.exit()


class AnyKey(argparse.Action):
    """Shows `--config.KEY` in --help, where it stands for every option of a config."""

    def __call__(self, *_):
        raise UserError("--config.KEY: KEY stands for an option. See --help=all.")


def add_config(made: Parser) -> None:
    """Adds --config and --workdir; `--config.key=value` is read by `read_config`."""
    made.usage = (
        "%(prog)s --config FILE[:ARGUMENT] --workdir DIR\n"
        "           [--config.KEY VALUE ...] [more of the options below]"
    )
    made.add_argument(
        "--config",
        metavar="FILE[:ARGUMENT]",
        help=f"config file, one of {', '.join(config_files(CONFIGS))} or your own. The "
        f"argument, comma-separated: an architecture ({', '.join(ARCHITECTURES)}), flags of the "
        "file such as quick, and KEY=VALUE pairs",
    )
    made.add_argument(
        "--config.KEY",
        metavar="VALUE",
        action=AnyKey,
        help="overrides an option, such as --config.optim.learning_rate=3e-4 or "
        f"--config.model.experts='gdcn+mlp*2' (experts: {', '.join(EXPERTS)}). All options, each "
        "with its default, unit and reason: --help=all; those of a section: --help=SECTION, such "
        f"as {', '.join(filter(None, SECTIONS))}, model.dtn. What files of "
        "your own define: --config.plugins=FILE,... (dtn_jax/config/plugins.py says how)",
    )
    made.add_argument(
        "--workdir",
        metavar="DIR",
        help="the run's folder: a new one, or the one of a run that was cut and now goes on",
    )


def read_config(spec: str | None, rest: Sequence[str]) -> ConfigDict:
    """Loads the config and applies `--config.key=value` (or `--config.key value`) arguments.

    Plug-ins are loaded first: the config's argument may name what they define.

    Raises:
      UserError: no config, an unknown argument, or a bad key or value.
    """
    if not spec:
        files = ", ".join(config_files(CONFIGS))
        raise UserError(f"no config: give --config=FILE:ARGUMENT, FILE one of {files}. See --help.")
    given = overrides(rest)
    plugins.load(",".join(value for key, value in given if key == "plugins"))
    config = load_config(spec)
    for key, value in given:
        override(config, key, value)
    return config


def overrides(rest: Sequence[str]) -> list[tuple[str, str]]:
    """The keys and values of `--config.key=value` arguments."""
    rest, found = list(rest), []
    while rest:
        key, equals, value = rest.pop(0).partition("=")
        if not key.startswith("--config."):
            raise UserError(f"unknown argument {key!r}. See --help.")
        if not equals:
            if not rest:
                raise UserError(f"{key} has no value: give {key}=VALUE")
            value = rest.pop(0)
        found.append((key.removeprefix("--config."), value))
    return found


def run(main: Callable[[Sequence[str]], None], resumes: bool = False) -> None:
    """Runs a command: a UserError is one message and exit code 2, without a traceback.

    Args:
      main: takes the arguments.
      resumes: an interrupted command goes on from its last checkpoint, which is said then.
    """
    arguments = sys.argv[1:]
    sys.unraisablehook = interrupt_again
    try:
        main(arguments)
    except UserError as error:
        if "--debug" in arguments:
            raise
        leave(_fail(f"error: {error}", 2))
    except Exception:
        if not jax.distributed.is_initialized():
            raise
        traceback.print_exc()
        leave(1)
    except KeyboardInterrupt:
        more = "; the same command goes on from the last checkpoint" if resumes else ""
        leave(_fail(f"interrupted{more}", 130), at_once=True)  # XLA may have been compiling


def interrupt_again(lost) -> None:
    """Ctrl-C that fell where Python ignores exceptions, as in a destructor, comes once more."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        again = (threading.main_thread().ident, signal.SIGINT)
        threading.Timer(0.1, signal.pthread_kill, again).start()
    else:
        sys.__unraisablehook__(lost)


def leave(code: int, at_once: bool = False) -> None:
    """Ends the process, at once where asked to, as an orderly end may crash in what was cut short,
    or where there are other processes, as it would wait for them, who wait for this one."""
    if at_once or jax.distributed.is_initialized():
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:  # nobody may read them any more
            os._exit(code)
    sys.exit(code)


def _fail(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code
