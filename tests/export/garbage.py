"""Requests that no client should send, each drawn anew: what must be answered with a 4xx."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping

import numpy as np

Draw = np.random.Generator
STREAM = "application/vnd.apache.arrow.stream"
Sent = tuple[bytes, str]  # a body, and its type of content
WRONG = (
    {},
    [[]],
    [{"a": 1}],
    {"a": {"b": []}},
    "\ud800",
    [["x"], 1],
    [None, [None]],
    1e400,
    [1e400, 1.0],
    "∞",
    [True, "x", 2.5],
)


def sent(body: bytes, kind: str = "application/json") -> Sent:
    return body, kind


class Garbage:
    """Made from a good request, whose rows and Arrow stream are given."""

    def __init__(self, rows: list[dict], stream: bytes):
        self.rows, self.stream = rows, stream
        self.good = json.dumps({"rows": rows[:2]}).encode()
        self.kinds: Mapping[str, Callable[[Draw], Sent]] = {
            "cut JSON": self.cut,
            "other bytes": self.other_bytes,
            "wrong types": self.wrong_types,
            "not finite": self.not_finite,
            "huge numbers": self.huge,
            "deep": self.deep,
            "a missing column": self.missing,
            "too many rows": self.many_rows,
            "Arrow cut": self.arrow_cut,
            "Arrow of another length": self.arrow_lengths,
            "Arrow flipped": self.arrow_flipped,
            "content types": self.content_types,
        }

    def draw(self, draw: Draw) -> tuple[str, Sent]:
        """A kind, and what to send."""
        kind = list(self.kinds)[draw.integers(len(self.kinds))]
        return kind, self.kinds[kind](draw)

    def cut(self, draw: Draw) -> Sent:
        return sent(self.good[: draw.integers(len(self.good))])

    def other_bytes(self, draw: Draw) -> Sent:
        return sent(draw.bytes(int(draw.integers(0, 2000))))

    def wrong_types(self, draw: Draw) -> Sent:
        row = dict(self.rows[0])
        name = list(row)[draw.integers(len(row))]
        row[name] = WRONG[draw.integers(len(WRONG))]
        numbers = {"price", "discount", "age", "rate", "t"}
        if name not in numbers and isinstance(row[name], str) and row[name].isprintable():
            row[name] = {}
        text = json.dumps({"rows": [*self.rows[:3], row]}).replace("Infinity", "1e400")
        return sent(text.encode())

    def not_finite(self, draw: Draw) -> Sent:
        text = ("NaN", "Infinity", "-Infinity")[draw.integers(3)]
        return sent(self.good.replace(b'"price": ', f'"price": {text}, "x": '.encode()))

    def huge(self, draw: Draw) -> Sent:
        text = ("9" * int(draw.integers(4400, 20_000)), "1e999", "-1e400")[draw.integers(3)]
        return sent(self.good.replace(b'"price": ', f'"price": {text}, "x": '.encode()))

    def deep(self, draw: Draw) -> Sent:
        depth, sign = int(draw.integers(10, 200_000)), ("[", '{"a":')[draw.integers(2)]
        return sent((sign * depth).encode())

    def missing(self, draw: Draw) -> Sent:
        row = dict(self.rows[0])
        del row[list(row)[draw.integers(len(row))]]
        return sent(json.dumps({"rows": [self.rows[1], row]}).encode())

    def many_rows(self, draw: Draw) -> Sent:
        return sent(b'{"rows": [' + b"{}," * 20_000 + b"{}]}")

    def arrow_cut(self, draw: Draw) -> Sent:
        return sent(self.stream[: draw.integers(4, len(self.stream) // 2)], STREAM)

    def arrow_lengths(self, draw: Draw) -> Sent:
        """A message that declares any number of bytes."""
        declared = int(draw.integers(-(1 << 31), 1 << 31))
        return sent(struct.pack("<Ii", 0xFFFFFFFF, declared) + self.stream[8:], STREAM)

    def arrow_flipped(self, draw: Draw) -> Sent:
        """The head, where a flipped byte is always wrong, is flipped, and others."""
        data = bytearray(self.stream)
        data[draw.integers(4)] ^= 1 << draw.integers(8)
        for place in draw.integers(len(data), size=draw.integers(1, 20)):
            data[place] ^= 1 << draw.integers(8)
        return sent(bytes(data), STREAM)

    def content_types(self, draw: Draw) -> Sent:
        kinds = (
            "text/html",
            "application/xml",
            "",
            "x" * 500,
            "multipart/form-data",
        )
        return sent(self.good, kinds[draw.integers(len(kinds))])
