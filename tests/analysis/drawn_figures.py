"""Figures as they are drawn, before they are saved."""

import pytest

from dtn_jax.analysis import figures, gate_figures, pair_figures, training_figures


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, {file's name: figure}."""
    kept = {}

    def keep(figure, path):
        kept[str(path)] = figure

    for module in (figures, gate_figures, pair_figures, training_figures):
        monkeypatch.setattr(module, "save", keep)
    return kept


def below(figure):
    """A figure's grey lines, as one."""
    return figure.texts[1].get_text().replace("\n", " ")
