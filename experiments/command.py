"""What every command shares: its options, config overrides, and errors without tracebacks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from ml_collections import ConfigDict

from dtn_jax import options
from dtn_jax.schema import UserError


class Parser(argparse.ArgumentParser):
    """Raises UserError where argparse would print its usage and exit."""

    def error(self, message: str):
        raise UserError(f"{message}\nSee --help.")


def parser(description: str, example: str) -> Parser:
    """A parser with the options that every command has."""
    made = Parser(
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return made


def add_config(made: Parser) -> None:
    """Adds --config and --workdir; `--config.key=value` is read by `read_config`."""
    made.add_argument(
        "--config",
        metavar="FILE[:ARG]",
        help="config file and its argument: an architecture, flags such as quick, key=value "
        "pairs, comma-separated",
    )
    made.add_argument(
        "--config.KEY",
        metavar="VALUE",
        dest="unused",
        help="overrides an option of the config, such as --config.optim.learning_rate=3e-4; all "
        "options with their defaults stand in configs/base.py",
    )
    made.add_argument("--workdir", metavar="DIR", help="the run's folder: new, or to go on in")


def read_config(spec: str | None, rest: Sequence[str]) -> ConfigDict:
    """Loads the config and applies `--config.key=value` arguments."""
    if not spec:
        raise UserError("no config: give --config=configs/adult.py:dtn (configs/ holds them all)")
    config = options.load_config(spec)
    rest = list(rest)
    while rest:
        key, equals, value = rest.pop(0).partition("=")
        if not key.startswith("--config."):
            raise UserError(f"unknown argument {key!r}. See --help.")
        if not equals:
            if not rest:
                raise UserError(f"{key} has no value: give {key}=VALUE")
            value = rest.pop(0)
        options.override(config, key.removeprefix("--config."), value)
    return config


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Runs a command: a UserError is one message and exit code 2, without a traceback."""
    arguments = sys.argv[1:]
    try:
        main(arguments)
    except UserError as error:
        if "--debug" in arguments:
            raise
        sys.exit(_fail(f"error: {error}", 2))
    except KeyboardInterrupt:
        sys.exit(_fail("interrupted; the same command goes on from the last checkpoint", 130))


def _fail(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code
