"""Which operations took longest, read from a trace that JAX wrote."""

import collections
import gzip
import io
import json

import jax
import jax.numpy as jnp
import pytest
import rich.console

from dtn_jax.report import trace
from dtn_jax.report.trace import Operation, heaviest, operations

STEPS = 3


@pytest.fixture(scope="module", params=["compiled", "from the cache"])
def recorded(request, tmp_path_factory):
    """The trace of STEPS calls of `loop`, whose product is heavier than all else by far, and of
    `other`."""

    def loop(a):
        def body(_, a):
            with jax.named_scope("heavy"):
                a = a @ a
            return a + 1.0

        return jax.lax.fori_loop(0, 2, body, a)

    def other(a):
        with jax.named_scope("light"):
            return a[:16, :16] @ a[:16, :16]

    if request.param == "from the cache":
        jax.clear_caches()
    folder, programs = tmp_path_factory.mktemp("trace"), [jax.jit(loop), jax.jit(other)]
    a = jnp.full((1024, 1024), 1e-3)
    for program in programs:
        program(a).block_until_ready()
    with jax.profiler.trace(str(folder)):
        for program in programs * STEPS:
            program(a).block_until_ready()
    return next(folder.rglob("*.xplane.pb"))


def test_the_heaviest_operation_is_first_with_its_calls_and_its_place(recorded):
    found = operations(recorded)
    assert [o.milliseconds for o in found] == sorted((o.milliseconds for o in found), reverse=True)
    assert "heavy/dot_general" in found[0].source
    assert found[0].calls == 2 * STEPS  # twice in each call's loop
    assert 0 < found[0].milliseconds < 10_000


def test_the_times_are_those_of_the_viewers_file(recorded):
    """JAX writes the events as JSON too, which rounds them to nanoseconds."""
    events = json.loads(gzip.decompress(next(recorded.parent.glob("*.json.gz")).read_bytes()))
    total = collections.Counter()
    for event in events["traceEvents"]:
        operation = event.get("args", {}).get("hlo_op")
        if operation and not operation.startswith("while"):
            total[event["args"]["hlo_module"], operation] += event["dur"] / 1e3
    expected = sorted(total.values(), reverse=True)
    assert [o.milliseconds for o in operations(recorded)] == pytest.approx(expected, rel=1e-3)


def test_a_loop_is_no_operation_and_programs_are_told_apart(recorded):
    found = operations(recorded)
    assert not [o for o in found if o.name.startswith("while") or o.source.endswith("/while")]
    light = [o for o in found if "light/dot_general" in o.source]
    assert [o.calls for o in light] == [STEPS]
    assert light[0].milliseconds < found[0].milliseconds


def test_the_table_shows_shares_of_all_and_ten_rows():
    found = [Operation(f"fusion.{i}", 40.0 if i == 0 else 5.0, 3, "a;b") for i in range(13)]
    found[1] = Operation("dot.7", 5.0, 1234, "jit(f)/while/body/jvp(DTN)/tower/dot_general")
    console = rich.console.Console(width=100, file=io.StringIO())
    console.print(heaviest(found, "of 3 steps"))
    lines = console.file.getvalue().splitlines()
    rows = [line.split() for line in lines if "fusion" in line or "dot" in line]
    assert len(rows) == 10
    assert rows[0] == ["fusion.0", "40.0", "40.0%", "3", "a"]
    assert rows[1] == ["dot.7", "5.0", "5.0%", "1,234", "jvp(DTN)/tower/dot_general"]


def test_the_wire_format_of_protobuf():
    parts = (
        [0x08, 0xAC, 0x02],  # field 1, a number of two bytes: 300
        [0x11, *range(8)],  # field 2, 8 bytes
        [0x1A, 4, 0x0A, 2, 104, 105],  # field 3, a message whose field 1 is 'hi'
        [0x25, *range(4)],  # field 4, 4 bytes
        [0x82, 0x01, 1, 33],  # field 16, a text of one byte
    )
    message = b"".join(map(bytes, parts))
    fields = [
        (number, value if isinstance(value, int) else bytes(value))
        for number, value in trace._fields(memoryview(message))
    ]
    assert fields == [
        (1, 300),
        (2, bytes(range(8))),
        (3, b"\x0a\x02hi"),
        (4, bytes(range(4))),
        (16, b"!"),
    ]
    assert [bytes(v) for v in trace._inside(memoryview(message), 3, 1)] == [b"hi"]
