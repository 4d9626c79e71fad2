"""Scores over HTTP: a loaded model behind four addresses. It needs the extra [serve].

    process.py       the command's options to a running server, and its orderly end
    app.py           POST /score, GET /schema, /health and /metrics
    body.py          a request's bytes, within their limits of size and time
    json_rows.py     JSON to a table of the model's columns; arrow_rows.py: an Arrow stream to one
    worker.py        the one thread that owns the model: requests that wait share a call
    scorer.py        the tables of several requests to their scores
    answers.py       scores to JSON or Arrow
    reload.py        a new model takes the place of the old one between two calls
    description.py   what /schema says
    counters.py      what /metrics says

Whatever a client sends is answered: `Refused` is a status and a message. FastAPI, uvicorn and
prometheus-client are imported by app.py, process.py and counters.py alone.
"""
