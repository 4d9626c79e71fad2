"""How long a predicted step takes: parts by hand."""

import dataclasses

import pytest

from experiments.suites import times
from experiments.suites.exchanged import Collective
from experiments.suites.large import EXAMPLES, predict_large
from experiments.suites.rates import CHECKPOINT, PEAKS, RATES, SHARES


@pytest.fixture(scope="module")
def predicted():
    return predict_large(16, 10**6, 8, "tpu")[1]


def test_rates_are_shares_of_peaks():
    assert RATES["v5p"].flops == PEAKS["v5p"].flops * SHARES["flops"]
    assert RATES["v5p"].latency == PEAKS["v5p"].latency


def test_an_all_to_all_on_a_torus_passes_links_of_its_longest_side():
    one = Collective("rows", "all-to-all", 1024, 1024)  # sends 1023 bytes
    rates = dataclasses.replace(RATES["v5p"], network=6.0)  # 1 byte/s a link
    assert times.longest_side(1024, 3) == 16
    assert times.on_network(one, rates, 1024) == 1023 * 16 / 8
    assert times.on_network(one, dataclasses.replace(rates, torus=0), 1024) == 1023 / 6
    ring = dataclasses.replace(one, kind="all-gather")
    assert times.on_network(ring, rates, 1024) == 1023 / 6
    small = Collective("rows", "all-to-all", 8, 8)
    assert times.on_network(small, rates, 8) == pytest.approx(7 * 2 / 8)


def test_a_sort_is_a_bitonic_network():
    rates = dataclasses.replace(RATES["h100"], traffic=1.0)
    assert times.sort(16, rates) == 10 * 2 * 8 * 16
    assert times.sort(1, rates) == 0
    assert times.sort(16, dataclasses.replace(rates, platform="cpu")) == 0


def test_a_step_is_the_sum_of_its_parts(predicted):
    found = times.of_step(predicted, RATES["v5e"], 8, EXAMPLES)
    parts = found.compute, found.memory, found.network, found.sorting, found.latency
    assert all(part > 0 for part in parts)
    assert found.step == sum(parts)
    assert found.bound == "memory"
    slow = dataclasses.replace(found, reading=1.0)
    assert (slow.step, slow.bound) == (1.0, "reading")
    assert 0 < times.routing(predicted, RATES["v5e"], 8) < found.sorting + found.network


def test_a_checkpoint_has_tables_of_all_devices_and_the_rest_once(predicted):
    memory = predicted.memory
    size = 8 * (memory.tables + memory.slots) + memory.dense
    assert times.checkpoint_bytes(predicted) == size
    of_four = dataclasses.replace(RATES["v5p"], host=4)
    assert times.checkpoint_seconds(predicted, of_four, 8) == size / (2 * CHECKPOINT)
