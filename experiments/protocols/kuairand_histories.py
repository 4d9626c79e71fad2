"""KuaiRand with histories; else as `kuairand`, of the same rows, so that one can compare both."""

import dataclasses

from .kuairand import PROTOCOL as USUAL

PROTOCOL = dataclasses.replace(
    USUAL,
    config="configs/kuairand_histories.py",
    note=USUAL.note + " Every model reads the user's last 50 clicks and long views, pooled by DIN. "
    "Rows, labels and the other fields are those of kuairand, whose table is that without "
    "histories. A LightGBM beside them reads a history as 50 columns, the oldest item first: it "
    "can compare none with the video to be ranked, and the newest has no column of its own.",
)
