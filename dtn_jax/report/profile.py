"""Records a trace of some steps of a run, and shows which operations took longest in them.

The times are those of the trace's events that carry the name of an HLO operation. The program
itself lies in the trace too, as XLA's HloProto: it says where in the model an operation comes
from. jax.profiler.ProfileData reads events but not that, so a few fields of these messages are
read here by their numbers, which stand in tsl/profiler/protobuf/xplane.proto and
xla/service/hlo.proto.

Tried on CPUs. On GPUs and TPUs it has not run.
"""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import jax
from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet
from jax.profiler import ProfileData

from dtn_jax.parallel import processes
from dtn_jax.report import screen
from dtn_jax.report.grid import Grid

# Their time is that of the operations inside them, which have events of their own.
CONTAINERS = ("while", "conditional", "call")
SHOWN = 90  # characters of a source, which may name all that was fused
VIEWERS = "TensorBoard with its profile plugin opens it, or ui.perfetto.dev its .trace.json.gz"


class Operation(NamedTuple):
    """An HLO operation of a program.

    Attributes:
      name: such as `fusion.33`.
      milliseconds: of all its calls, summed over devices and threads.
      calls: how often it ran.
      source: where it comes from, a path of JAX's names; '' where the trace does not tell.
    """

    name: str
    milliseconds: float
    calls: int
    source: str


class Profile:
    """A trace of the first `steps` steps after the one that compiles.

    It changes no number, only how many steps a chunk has: in every process, so that all agree,
    though only the first one records. In a run with fewer steps it ends with them.

    A context manager, which ends the trace if an exception comes, and says so if there was none.

    Args:
      folder: for the trace; JAX makes a folder in it for each one.
      steps: 0 records nothing.
    """

    def __init__(self, folder: pathlib.Path, steps: int):
        self.folder, self.left = folder, steps
        self.compiled = self.recording = False
        self.recorded = 0
        self.made = None  # by the last step, to wait for it

    def at_most(self, count: int) -> int:
        """How many steps the next chunk may have; starts the trace once the program is compiled."""
        if not self.left:
            return count
        if not self.compiled:
            return 1
        if not self.recording:
            self.recording = True
            jax.block_until_ready(self.made)
            if processes.is_first():
                options = jax.profiler.ProfileOptions()
                options.python_tracer_level = 0  # to trace every call would slow the host
                jax.profiler.start_trace(str(self.folder), profiler_options=options)
        return min(count, self.left)

    def add(self, made: object, count: int) -> bool:
        """Takes what a chunk of `count` steps made; True if the trace ends here, which takes time.

        Args:
          made: arrays that nothing consumes, such as losses.
        """
        if not self.left:
            return False
        self.made = made
        if not self.recording:
            self.compiled = True
            return False
        self.left, self.recorded = self.left - count, self.recorded + count
        if not self.left:
            self.end()
        return not self.left

    def end(self) -> None:
        """Ends the trace, if one is being recorded, and prints its heaviest operations."""
        if not self.recording:
            return
        jax.block_until_ready(self.made)
        self.left, self.recording, self.made = 0, False, None
        if not processes.is_first():
            return
        jax.profiler.stop_trace()
        trace = max(self.folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
        steps = f"{self.recorded} step{'s' if self.recorded > 1 else ''}"
        if found := operations(trace):
            grid = heaviest(found, f"the heaviest operations of {steps}")
            screen.show(grid.terminal())
        else:
            screen.say(
                f"There is no table of operations: the trace of {steps} names none on this "
                f"platform, {jax.default_backend()}."
            )
        screen.say(f"The trace is in {trace.parent}: {VIEWERS}.")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_) -> None:
        if self.recording and processes.is_first():  # an exception came before the end
            jax.profiler.stop_trace()
        elif self.left and kind is None:
            screen.say(
                "Nothing was profiled: the run is finished, or had no step left after the one that "
                "compiles."
            )


def heaviest(found: list[Operation], title: str, count: int = 10) -> Grid:
    """A table of the `count` first operations, with their share of the time of all of them."""
    total = sum(operation.milliseconds for operation in found)
    rows = []
    for name, milliseconds, calls, source in found[:count]:
        source = source.partition(";")[0]  # the first of its names, without those of every step
        source = source.rpartition("while/body/")[2] or source
        source = source if len(source) <= SHOWN else source[:SHOWN] + "…"
        rows.append(
            [name, source, f"{milliseconds:,.1f}", f"{milliseconds / total:.1%}", f"{calls:,}"]
        )
    header = ["operation", "from", "ms", "share", "calls"]
    note = "ms: summed over devices and threads. share: of the time of all operations."
    return Grid(header, rows, title, note, left=2)


def operations(trace: pathlib.Path) -> list[Operation]:
    """The operations of all programs, the one with the most time first; [] if none is named.

    Args:
      trace: a file `*.xplane.pb`.
    """
    content = trace.read_bytes()
    known = _instructions(content)
    nanoseconds, calls = collections.Counter(), collections.Counter()
    for *key, number, duration in _events(ProfileData.from_serialized_xspace(content)):
        opcode, _ = known.get(tuple(key), (key[1].partition(".")[0], ""))
        if opcode not in CONTAINERS:
            nanoseconds[*key, number] += duration
            calls[*key, number] += 1
    return [
        Operation(key[1], total / 1e6, calls[key], known.get(key[:2], ("", ""))[1])
        for key, total in nanoseconds.most_common()
    ]


def _events(trace: ProfileData) -> Iterator[tuple[str, str, int, float]]:
    """(program, operation, the program's number, nanoseconds), of the devices' planes; of the
    host's where no other has any."""
    planes = sorted(trace.planes, key=lambda plane: not plane.name.startswith("/device:"))
    device = False
    for plane in planes:
        if device and not plane.name.startswith("/device:"):
            return
        for line in plane.lines:
            for event in line.events:
                stats = dict(event.stats)
                if "hlo_op" in stats:
                    device = plane.name.startswith("/device:")
                    names = str(stats.get("hlo_module")), str(stats["hlo_op"])
                    yield *names, stats.get("program_id", 0), event.duration_ns


def _instructions(space: bytes) -> dict[tuple[str, str], tuple[str, str]]:
    """{(program, operation): its opcode and source}; '' for a source where two of one name
    disagree.

    A program's number is no help: one that comes from JAX's cache has another one in its events.
    XSpace.planes, XPlane.event_metadata, its XEventMetadata with .name and .stats,
    XStat.bytes_value; therein HloProto.hlo_module, HloModuleProto.computations,
    HloComputationProto.instructions; of these HloInstructionProto.name, .opcode, and
    .metadata with OpMetadata.op_name.
    """
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for plane in _inside(space, 1):
        if b"/host:metadata" not in _inside(plane, 2):
            continue
        for program in _inside(plane, 4, 2):
            name = _first(program, 2).partition("(")[0]  # of 'jit_train_chunk(4)'
            for instruction in _inside(program, 5, 6, 1, 3, 2):
                key, source = (name, _first(instruction, 1)), _first(instruction, 7, 2)
                same = key not in found or found[key][1] == source
                found[key] = _first(instruction, 2), source if same else ""
    return found


def _first(message: bytes, *path: int) -> str:
    """The text in a field; '' if it is not there."""
    return next(_inside(message, *path), b"").decode(errors="replace")


def _inside(message: bytes, number: int, *deeper: int) -> Iterator[bytes]:
    """The values of a field of a protobuf message, or of the fields `deeper` in these."""
    for field in UnknownFieldSet(Empty.FromString(message)):
        if field.field_number == number and isinstance(field.data, bytes):
            yield from _inside(field.data, *deeper) if deeper else (field.data,)
