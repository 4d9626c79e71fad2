"""A real server: it starts, scores, takes a new model under load, ends; what the command refuses
before any server is there, and when a new model takes over."""

import concurrent.futures
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import made_models
import pytest
from made_models import FRAME, frame_model
from served import ROWS, Served

from dtn_jax import export
from dtn_jax.cli import serve
from dtn_jax.errors import UserError
from dtn_jax.export.model_folder import model_id
from dtn_jax.export.serve.process import look


def by(value, when):
    return pytest.param(value, marks=getattr(pytest.mark, when))


ROOT = pathlib.Path(__file__).parents[2]


class Process:
    """Attributes: `url`, of the server; `log`, its path."""

    def __init__(self, model, log, *options):
        self.log = log
        command = [sys.executable, "-m", "experiments.serve", f"--model={model}", "--port=0"]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [*command, *options], stdout=out, stderr=out, cwd=ROOT, env=environment
            )

    @property
    def text(self):
        return self.log.read_text()

    def wait_for(self, pattern, seconds=120):
        """The match of a pattern in the log."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := re.search(pattern, self.text):
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"no {pattern!r} in the log:\n{self.text}")

    def is_ready(self):
        self.url = self.wait_for(r"listening on (http://\S+)").group(1)
        self.wait_for("ready: batches")
        return httpx.get(f"{self.url}/health", timeout=60).status_code == 200

    def stop(self, by=signal.SIGTERM):
        """Its exit code."""
        self.process.send_signal(by)
        return self.process.wait(120)


@contextlib.contextmanager
def running(model, log, *options):
    found = Process(model, log, *options)
    try:
        assert found.is_ready(), found.text
        yield found
    finally:
        if found.process.poll() is None:
            found.process.kill()
            found.process.wait()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models whose scores differ."""
    folder = tmp_path_factory.mktemp("models")
    frame_model(folder / "a")
    frame_model(folder / "b", FRAME.with_columns(FRAME["size"] * 3), views=2)
    return folder / "a", folder / "b"


def scores_of(model):
    return export.load(model).score(ROWS)["click@all"].to_list()


def ask(url, client=httpx):
    answer = client.post(f"{url}/score", json={"rows": ROWS}, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()["scores"]["click@all"]


@pytest.mark.parametrize("by", [by(signal.SIGTERM, "slow"), by(signal.SIGINT, "nightly")])
def test_it_scores_and_ends(models, tmp_path, by):
    with running(models[0], tmp_path / "log", "--max_batch=8") as server:
        assert ask(server.url) == pytest.approx(scores_of(models[0]), abs=1e-6)
        with concurrent.futures.ThreadPoolExecutor(8) as pool, httpx.Client() as client:
            asked = [pool.submit(ask, server.url, client) for _ in range(64)]
            time.sleep(0.05)
            code = server.stop(by)
            ended = [one.exception() for one in asked]
        assert code == 0, server.text
        refused = (httpx.NetworkError, httpx.RemoteProtocolError)
        assert all(e is None or isinstance(e, refused) for e in ended)
        assert "Traceback" not in server.text


@pytest.mark.parametrize("link", [by(False, "slow"), by(True, "nightly")])
def test_a_new_model_by_rename_loses_no_request(models, tmp_path, link):
    a, b = models
    place = tmp_path / "model"
    copies = []
    for at, model in enumerate((a, b)):
        copies.append(tmp_path / f"copy{at}")
        shutil.copytree(model, copies[-1])
    if link:
        place.symlink_to(copies[0])
    else:
        copies[0].rename(place)
    wanted = [pytest.approx(scores_of(model), abs=1e-6) for model in models]
    seen, stop = [], threading.Event()

    def load(url):
        own = []
        with httpx.Client() as client:
            while not stop.is_set():
                got = ask(url, client)
                own.append(0 if got == wanted[0] else 1 if got == wanted[1] else 2)
                seen.append(own[-1])
        return own

    with running(place, tmp_path / "log", "--reload", "--max_batch=16") as server:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            loads = [pool.submit(load, server.url) for _ in range(4)]
            if link:
                (tmp_path / "new").symlink_to(copies[1])
                (tmp_path / "new").rename(place)
            else:
                place.rename(tmp_path / "old")
                copies[1].rename(place)
            server.wait_for("takes over from")
            end = time.monotonic() + 120
            while 1 not in seen and time.monotonic() < end:
                time.sleep(0.1)
            stop.set()
            answered = [one.result() for one in loads]
        assert set(seen) == {0, 1}
        assert all(own == sorted(own) for own in answered)  # none by the old one after the new one
        broken = tmp_path / "broken"
        shutil.copytree(a, broken)
        (broken / "weights.safetensors").write_bytes(b"damaged")
        place.rename(tmp_path / "older")
        broken.rename(place)
        server.wait_for("the new model is refused, the old one stays: .*weights.safetensors")
        assert ask(server.url) == wanted[1]
        metrics = httpx.get(f"{server.url}/metrics", timeout=120).text
        assert 'dtn_reloads_total{result="refused"} 1.0' in metrics
        assert server.stop() == 0


@pytest.mark.slow
def test_a_start_that_fails(models, tmp_path):
    server = Process(tmp_path / "none", tmp_path / "log")
    assert server.process.wait(60) == 2
    assert "holds no model" in server.text
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = Process(models[0], tmp_path / "log2", f"--port={port}")
        assert server.process.wait(60) != 0
    assert f"('127.0.0.1', {port}): address already in use" in server.text
    assert "Traceback" not in server.text


# ---------------------------------------------------------------- when a new model takes over


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Models by what they are beside the first one, `old`."""
    made = tmp_path_factory.mktemp("models")
    made_models.frame_model(made / "old")
    made_models.frame_model(made / "other", FRAME.with_columns(FRAME["size"] * 3))
    made_models.frame_model(made / "fewer", tasks=("click", "stars"))
    optional = {"speed": "{kind: numeric, encoder: standardise, optional: true}"}
    made_models.frame_model(made / "lenient", fields=optional)
    lists = FRAME.with_columns(word=FRAME["tags"])
    made_models.frame_model(made / "lists", lists, {"word": "{kind: bag}"})
    made_models.frame_model(made / "buckets", fields={"speed": "{kind: numeric}"})
    return made


def looked(folders, tmp_path, caplog, first, second):
    """The server after a look at the second model in the place of the first."""
    place = tmp_path / "model"
    place.symlink_to(folders / first)
    served = Served(place)
    served.worker.ready.set()
    seen = model_id(place)
    place.unlink()
    place.symlink_to(folders / second)
    caplog.clear()
    with caplog.at_level("INFO", "dtn_jax.serve"):
        seen = look(served.worker, place, seen)
        assert look(served.worker, place, seen) == seen == model_id(place)
    return served


@pytest.mark.parametrize(
    ("first", "second"),
    [("old", "other"), ("old", "lenient"), ("fewer", "old"), ("old", "buckets")],
)
def test_it_takes_over(folders, tmp_path, caplog, first, second):
    served = looked(folders, tmp_path, caplog, first, second)
    assert served.worker.contract is not served.contract
    assert "takes over" in caplog.text
    assert served.worker.contract.model.score(ROWS)["click@all"].is_finite().all()


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("old", "fewer", "lacks outputs that the old one gives: order@click, order@all; a restart"),
        ("lenient", "old", "no column 'speed', which the model needs"),
        (
            "old",
            "lists",
            "row 1, column 'word': wrong type: 'a'; a restart",
        ),
    ],
)
def test_it_is_refused(folders, tmp_path, caplog, first, second, told):
    served = looked(folders, tmp_path, caplog, first, second)
    assert served.worker.contract is served.contract
    (record,) = caplog.records
    assert told in record.getMessage()
    assert "the new model is refused, the old one stays" in record.getMessage()
    registry = served.worker.metrics.registry
    assert registry.get_sample_value("dtn_reloads_total", {"result": "refused"}) == 1


# ---------------------------------------------------------------- the command


def test_where_a_token_is_read(tmp_path, monkeypatch):
    monkeypatch.delenv("DTN_SERVE_TOKEN", raising=False)
    assert serve.read_token("") == ""
    (tmp_path / "token").write_text("abc\n")
    monkeypatch.setenv("DTN_SERVE_TOKEN", " xyz")
    assert (serve.read_token(""), serve.read_token(f"{tmp_path}/token")) == ("xyz", "abc")
    (tmp_path / "token").write_text(" \n")
    for file, error in (("token", UserError), ("none", FileNotFoundError)):
        with pytest.raises(error, match=str(tmp_path / file)):
            serve.read_token(str(tmp_path / file))
