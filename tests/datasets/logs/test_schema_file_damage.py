"""A schema file that was damaged anywhere is read, or refused with its name: nothing else."""

import random

import pytest
from schema_files import WHOLE

from dtn_jax.datasets.logs.schema.schema_file import loads
from dtn_jax.errors import UserError

PIECES = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\n",
    "\t",
    " ",
    "'",
    '"',
    "`",
    "&a",
    "*a",
    "!!str",
    "- ",
    "---",
]
PIECES += [
    "0",
    "-1",
    "1e999",
    "null",
    "~",
    "\x00",
    "\ud800",
    "é",
    "😀",
    "#",
    "|\n",
    ">\n",
    "?",
    "%",
    "@",
]


def refusal(text):
    """Of a schema file; '' where it is good."""
    try:
        loads(text, "shop.yaml")
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("seed", range(20))
def test_random_damage(seed):
    draw = random.Random(seed)
    good = 0
    for _ in range(20):
        text = WHOLE
        for _ in range(draw.randint(1, 3)):
            start = draw.randrange(len(text))
            end = start + draw.choice([0, 0, 1, 1, 3, 30, 300])
            text = text[:start] + draw.choice(["", *PIECES]) + text[end:]
        message = refusal(text)
        good += not message
        assert message == "" or message.startswith("shop.yaml"), text
    assert good < 20
