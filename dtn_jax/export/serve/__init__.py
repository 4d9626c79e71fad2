"""Scores over HTTP: a loaded model behind a few addresses. It needs the extra [serve].

    process.py    the command's options to a running server, its new models, and its orderly end
    app.py        POST /score, GET /schema, /docs, /health, /ready and /metrics
    requests.py   what a model asks of rows; a body, JSON or Arrow, to columns of values
    worker.py     the one thread that owns the model: requests that wait share a call
    limits.py     what a request may ask for

`data/cast.py` alone decides the types of values, as for files and rows in memory. What a proxy does
better (slow clients, TLS, passwords) is left to it; docs/serving.md shows one.
"""
