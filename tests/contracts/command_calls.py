"""What calls of commands share: small runs, and what is said and left. See finished_runs.py."""

import dataclasses
import hashlib
import json
import pathlib
import struct

from refused_configs import refused
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c

ROOT = pathlib.Path(__file__).parents[2]
SMALL = "model.expert_dim=4,model.tower_hidden=4,model.embedding_dim=4,parallel.devices=1"
TINY = (
    "--config=configs/adult.py:shared_bottom,model.experts=mlp,model.mlp.hidden=4,"
    f"train.max_steps=2,{SMALL}"
)
WATCHED = (  # the finished run
    "--config=configs/adult.py:mmoe,model.experts=gdcn*2,train.max_steps=4,train.eval_every=2,"
    f"analysis.rows=100,{SMALL}"
)


@dataclasses.dataclass
class Outcome:
    code: int
    out: str
    err: str


def message_of(outcome) -> str:
    """What is said, when that is one message and nothing else."""
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert outcome.err.startswith("error: ")
    assert outcome.err.endswith("\n")
    assert outcome.err.count("error: ") == 1
    return outcome.err[len("error: ") : -1]


def refusal(main, *arguments) -> str:
    """The message with which a command's `main` refuses its arguments."""
    return refused(main, [*map(str, arguments)])


def contents(folder) -> dict[str, str]:
    """{path: SHA-256 of its bytes}, folders included."""
    return {
        str(p): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "folder"
        for p in [folder, *folder.rglob("*")]
        if p.exists()
    }


def one_line(message) -> str:
    assert "\n" not in message
    return message


def results_of(workdir) -> dict:
    return json.loads((workdir / "results.json").read_text())


def tensorboard_events(workdir) -> list[Event]:
    """As TensorBoard reads its only file: a length and an event, each with its checksum."""
    (path,) = (workdir / "tensorboard").iterdir()
    held, found = path.read_bytes(), []
    while held:
        (size,) = struct.unpack_from("<Q", held)
        length, event, held = held[:12], held[12 : size + 16], held[size + 16 :]
        for part in (length, event):
            assert struct.unpack("<I", part[-4:]) == (masked_crc32c(part[:-4]),)
        found.append(Event.FromString(event[:-4]))
    return found


def logged(workdir, kind):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    records = [r for r in map(json.loads, lines) if r["kind"] == kind]
    return [{k: v for k, v in r.items() if k != "examples_per_second"} for r in records]
