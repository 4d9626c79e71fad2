"""Requests that no client should send, each drawn anew: what must be answered with a 4xx."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping

import numpy as np

from experiments.benchmarks.serving import request

Draw = np.random.Generator
STREAM = "application/vnd.apache.arrow.stream"
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


class Garbage:
    """Made from a good request, whose rows and Arrow stream are given."""

    def __init__(self, rows: list[dict], stream: bytes):
        self.rows, self.stream = rows, stream
        self.good = json.dumps({"rows": rows[:2]}).encode()
        self.kinds: Mapping[str, Callable[[Draw], bytes]] = {
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
            "methods and paths": self.methods,
            "not HTTP": self.not_http,
        }

    def draw(self, draw: Draw) -> tuple[str, bytes]:
        """A kind, and the bytes to send."""
        kind = list(self.kinds)[draw.integers(len(self.kinds))]
        return kind, self.kinds[kind](draw)

    def cut(self, draw: Draw) -> bytes:
        return request(self.good[: draw.integers(len(self.good))])

    def other_bytes(self, draw: Draw) -> bytes:
        return request(draw.bytes(int(draw.integers(0, 2000))))

    def wrong_types(self, draw: Draw) -> bytes:
        row = dict(self.rows[0])
        name = list(row)[draw.integers(len(row))]
        row[name] = WRONG[draw.integers(len(WRONG))]
        numbers = {"price", "discount", "age", "rate", "t"}
        if name not in numbers and isinstance(row[name], str) and row[name].isprintable():
            row[name] = {}
        text = json.dumps({"rows": [*self.rows[:3], row]}).replace("Infinity", "1e400")
        return request(text.encode())

    def not_finite(self, draw: Draw) -> bytes:
        text = ("NaN", "Infinity", "-Infinity")[draw.integers(3)]
        return request(self.good.replace(b'"price": ', f'"price": {text}, "x": '.encode()))

    def huge(self, draw: Draw) -> bytes:
        text = ("9" * int(draw.integers(4400, 20_000)), "1e999", "-1e400")[draw.integers(3)]
        return request(self.good.replace(b'"price": ', f'"price": {text}, "x": '.encode()))

    def deep(self, draw: Draw) -> bytes:
        depth, sign = int(draw.integers(10, 200_000)), ("[", '{"a":')[draw.integers(2)]
        return request((sign * depth).encode())

    def missing(self, draw: Draw) -> bytes:
        row = dict(self.rows[0])
        del row[list(row)[draw.integers(len(row))]]
        return request(json.dumps({"rows": [self.rows[1], row]}).encode())

    def many_rows(self, draw: Draw) -> bytes:
        return request(b'{"rows": [' + b"{}," * 20_000 + b"{}]}")

    def arrow_cut(self, draw: Draw) -> bytes:
        return request(self.stream[: draw.integers(4, len(self.stream) // 2)], STREAM)

    def arrow_lengths(self, draw: Draw) -> bytes:
        """A message that declares any number of bytes."""
        declared = int(draw.integers(-(1 << 31), 1 << 31))
        return request(struct.pack("<Ii", 0xFFFFFFFF, declared) + self.stream[8:], STREAM)

    def arrow_flipped(self, draw: Draw) -> bytes:
        """The head, where a flipped byte is always wrong, is flipped, and others."""
        data = bytearray(self.stream)
        data[draw.integers(4)] ^= 1 << draw.integers(8)
        for place in draw.integers(len(data), size=draw.integers(1, 20)):
            data[place] ^= 1 << draw.integers(8)
        return request(bytes(data), STREAM)

    def content_types(self, draw: Draw) -> bytes:
        kinds = (
            "text/html",
            "application/xml",
            "",
            "x" * 500,
            "multipart/form-data",
        )
        return request(self.good, kinds[draw.integers(len(kinds))])

    def methods(self, draw: Draw) -> bytes:
        method = ("GET", "PUT", "DELETE", "PATCH", "BREW")[draw.integers(5)]
        path = ("/score", "/scores", "/%00", "/../etc/passwd", "/score/%ff")[draw.integers(5)]
        return f"{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()

    def not_http(self, draw: Draw) -> bytes:
        """A line that is no request, and a head beyond what is read."""
        if draw.integers(2):
            return b"\x16\x03\x01" + draw.bytes(100).replace(b"\n", b"") + b"\r\n\r\n"
        return b"GET /nothing HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 100_000 + b"\r\n\r\n"
