"""A small model behind the server's application, in this process."""

import asyncio
import contextlib
import json
import threading

import httpx
from made_models import FRAME, frame_model

from dtn_jax.export import load
from dtn_jax.export.serve.process import make_app
from dtn_jax.export.serve.requests import Contract, Limits
from dtn_jax.export.serve.worker import Worker

ROWS = FRAME.to_dicts()
JSON = {"content-type": "application/json"}
ARROW = {"content-type": "application/vnd.apache.arrow.stream"}


class Client:
    """Requests to an application whose event loop runs in a thread, as a server's does."""

    def __init__(self, app):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self.asked = httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60)

    def request(self, method, path, **asked):
        work = self.asked.request(method, path, **asked)
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def get(self, path):
        return self.request("GET", path)

    def post(self, path, **asked):
        return self.request("POST", path, **asked)

    def close(self):
        asyncio.run_coroutine_threadsafe(self.asked.aclose(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class Served:
    """Attributes: `model`, `worker`, and `client` for requests."""

    def __init__(self, folder, limits=None, token=""):
        limits = limits or Limits(max_batch=16, rows=1000, body_mb=1)
        self.contract = Contract(load(folder, limits.max_batch))
        self.model = self.contract.model
        self.worker = Worker(self.contract, limits)
        self.app = make_app(self.worker, token)

    def score(self, found, **headers):
        """The answer to a JSON body: bytes, or what becomes one."""
        content = found if isinstance(found, bytes) else json.dumps(found).encode()
        return self.client.post("/score", content=content, headers=JSON | headers)

    def is_well(self):
        """Whether the next good request is answered rightly."""
        answer = self.score({"rows": ROWS})
        wanted = self.model.score(ROWS).to_dict(as_series=False)
        near = all(
            abs(a - b) < 1e-6
            for name, values in wanted.items()
            for a, b in zip(values, answer.json()["scores"][name])
        )
        return answer.status_code == 200 and near


@contextlib.contextmanager
def serving(folder, limits=None, **changes):
    """A Served of a model that is made in `folder`, ready."""
    frame_model(folder, **changes)
    with serving_model(folder, limits) as served:
        yield served


@contextlib.contextmanager
def serving_model(folder, limits=None):
    """A Served of the model in `folder`, ready."""
    served = Served(folder, limits)
    served.worker.thread.start()
    assert served.worker.ready.wait(240)
    with contextlib.closing(Client(served.app)) as served.client:
        yield served
    served.worker.stop(10.0)
    assert not served.worker.thread.is_alive()
