"""What every command shares: its options, config overrides, and error messages.

Configs, which know every data set, are imported where they are read: --help need not wait.
"""

from __future__ import annotations

import argparse
import difflib
import os
import pathlib
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence

from ml_collections import ConfigDict

from dtn_jax.cli import quiet
from dtn_jax.errors import UserError
from dtn_jax.parallel import interrupts
from dtn_jax.report import screen
from dtn_jax.shared_files import told
from dtn_jax.shipped import config_files

CONFIGS = pathlib.Path("configs")


class Parser(argparse.ArgumentParser):
    """Raises UserError where argparse would print its usage and exit."""

    def error(self, message: str):
        raise UserError(f"{message}\nSee --help.")

    def parse_known_args(self, args=None, namespace=None):
        known, rest = super().parse_known_args(args, namespace)
        if known.help is not None:
            show_help(self, known, rest)
        for key in (word.partition("=")[0] for word in rest if not word.startswith("--config.")):
            if near := difflib.get_close_matches(key, self._option_string_actions, 1, 0.8):
                raise UserError(f"unknown argument {key!r}. Did you mean {near[0]}? See --help.")
        return known, rest


def parser(description: str, example: str) -> Parser:
    """A parser with the options that every command has."""
    made = Parser(
        prog=example.partition(" --")[0],
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    made.add_argument(
        "-h", "--help", nargs="?", const="", action=Help, help="show this help and exit"
    )
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return made


class Help(argparse.Action):
    """--help ends the parsing at once; --help=SECTION waits for --config and its plug-ins."""

    def __call__(self, made, namespace, value, option_string=None):
        setattr(namespace, self.dest, value)
        if not value or "config" not in namespace:
            show_help(made, namespace, ())


def show_help(made: Parser, known: argparse.Namespace, rest: Sequence[str]) -> None:
    """--help shows the command; --help=SECTION the options of a config's section, plug-ins'
    too."""
    if known.help:
        from dtn_jax.cli.option_help import option_help
        from dtn_jax.config import load_config, plugins

        if "config" in known:
            plugins.load(",".join(value for key, value in overrides(rest) if key == "plugins"))
            if known.config:
                load_config(known.config)
        print(option_help(known.help))
    else:
        made.print_help()
    sys.stdout.flush()  # while `run` can still answer for a reader that has gone
    made.exit()


class AnyKey(argparse.Action):
    """Lists `--config.KEY` in --help, on behalf of every option of a config."""

    def __call__(self, *_):
        raise UserError("--config.KEY: KEY stands for an option. See --help=all.")


def add_config(made: Parser) -> None:
    """Adds --config and --workdir; `--config.key=value` is read by `read_config`."""
    from dtn_jax.models.architectures import ARCHITECTURES
    from dtn_jax.models.experts import EXPERTS

    made.usage = (
        "%(prog)s --config FILE[:ARGUMENT] --workdir DIR\n"
        "           [--config.KEY VALUE ...] [more of the options below]"
    )
    made.add_argument(
        "--config",
        metavar="FILE[:ARGUMENT]",
        help=f"config file: {', '.join(config_files(CONFIGS))} or your own. ARGUMENT is a "
        f"comma-separated list of an architecture ({', '.join(ARCHITECTURES)}), flags of the "
        "file, such as quick, and KEY=VALUE pairs",
    )
    made.add_argument(
        "--config.KEY",
        metavar="VALUE",
        action=AnyKey,
        help="overrides an option, such as --config.optim.learning_rate=3e-4 or "
        f"--config.model.experts='gdcn+mlp*2' (experts: {', '.join(EXPERTS)}). --help=all lists "
        "all options, each with its default, unit and reason; --help=SECTION lists those of a "
        "section, such as model, model.dtn, optim or train. "
        "--config.plugins=FILE,... adds your own models, data sets, metrics and losses "
        "(see dtn_jax/config/plugins.py)",
    )
    made.add_argument(
        "--workdir",
        metavar="DIR",
        help="the run's folder: a new one, or that of an interrupted run, which then resumes",
    )
    add_force(made)


def add_force(made: Parser) -> None:
    """Adds --force, for `forced`."""
    made.add_argument(
        "--force",
        action="store_true",
        help="try even a run that cannot fit in memory: sets parallel.check_memory=False",
    )


def forced(known: argparse.Namespace) -> list[str]:
    """What --force says of the config, as arguments."""
    return ["--config.parallel.check_memory=False"] if known.force else []


def read_config(spec: str | None, rest: Sequence[str]) -> ConfigDict:
    """Loads the config and applies `--config.key=value` (or `--config.key value`) arguments.

    Raises:
      UserError: there is no config, or an argument, key or value is wrong.
    """
    from dtn_jax.config import load_config, override, plugins

    if not spec:
        files = ", ".join(config_files(CONFIGS))
        raise UserError(f"no config: give --config=FILE:ARGUMENT, FILE one of {files}. See --help.")
    given = overrides(rest)
    plugins.load(",".join(value for key, value in given if key == "plugins"))
    config = load_config(spec)  # after plug-ins: its argument may name what they define
    for key, value in given:
        override(config, key, value)
    return config


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
            from dtn_jax.config import declarations

            meant = [k for k in declarations() if k.rpartition(".")[2] == key.lstrip("-")]
            hint = f" Did you mean {' or '.join(f'--config.{k}' for k in meant)}?" if meant else ""
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
    except UserError as error:
        if "--debug" in arguments:
            raise
        leave(_fail(f"error: {error}", 2))
    except BrokenPipeError:  # who read the output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        leave(1)
    except OSError as error:
        if "--debug" in arguments:
            raise
        leave(_fail(f"error: {told(error)}", 2), at_once=True)
    except Exception:
        if not distributed():
            raise
        traceback.print_exc()
        leave(1)
    except KeyboardInterrupt:
        leave(_fail(interrupted, interrupts.CODE), at_once=True)  # XLA may have been compiling


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


def leave(code: int, at_once: bool = False) -> None:
    """Ends the process.

    It ends at once if asked to, since an orderly end may crash in interrupted work, or write to a
    full disk, and if there are other processes, for which it would wait while they wait for it.
    """
    if at_once or distributed():
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:  # their reader may be gone
            os._exit(code)
    sys.exit(code)


def _fail(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code
