"""Scores over HTTP: a loaded model behind a few addresses. It needs the extra [serve].

process.py    the server from its start to its end, its addresses, new models
worker.py     the thread that owns the model: requests that wait share a call
requests.py   what a model asks of rows; bodies, JSON or Arrow, to columns; answers
"""
