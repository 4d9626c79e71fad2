"""docs/pictures/speed.png: its alternative text says what was measured."""

import re

from draw_speed import NAMES, PICTURE, ROOT, draw, speeds

PAGE = (ROOT / "docs/performance.md").read_text()


def test_its_alternative_text_has_the_numbers_that_were_measured():
    (text,) = re.findall(r"!\[(.*?)\]\(pictures/speed\.png\)", PAGE)
    told = [part for part in text.split(". ")[1:] if part]
    measured = speeds()
    assert len(told) == len(measured) == 2
    for part, known in zip(told, measured.values()):
        numbers = {name: int(re.search(rf"{name} (\d+)", part)[1]) for name in NAMES}
        assert numbers == {name: round(known[name] / 1000) for name in NAMES}
    assert PICTURE.exists()


def test_it_is_drawn_with_a_bar_for_each():
    charts = draw().axes
    assert [len(axes.patches) for axes in charts] == [len(NAMES)] * 2
    assert [axes.get_title("left") for axes in charts] == [
        "842 table rows",
        "2 million table rows",
    ]
