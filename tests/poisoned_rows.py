"""Training data of which some steps have a label that is no number."""

import numpy as np

from dtn_jax.data.epochs.resident import ResidentData
from dtn_jax.data.epochs.streamed import StreamedData


def poison(monkeypatch, *steps):
    """From now on, training meets a label that is NaN at these steps, from 1, of its first
    epoch."""
    for source in (ResidentData, StreamedData):
        monkeypatch.setattr(source, "chunk", poisoned(source.chunk, steps))


def poisoned(chunk_of, steps):
    def chunk(self, seed, epoch, start, count, batch_size):
        whole = chunk_of(self, seed, epoch, start, count, batch_size)
        labels = np.array(whole.labels)
        for step in steps:
            if epoch == 0 and start < step <= start + count:
                labels[step - 1 - start, 3, 0] = np.nan
        return whole.replace(labels=labels)

    return chunk
