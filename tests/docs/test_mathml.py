"""Equations of pages become MathML; dollars and code stay."""

import markdown
import pytest
from mathml import Equations, mathml

pytestmark = pytest.mark.slow  # needs what builds the site


def shown(text):
    return markdown.markdown(text, extensions=[Equations(), "fenced_code"])


def test_equations_in_lines_and_on_their_own():
    assert shown("so $a_m = 1$ holds") == (
        '<p>so <math xmlns="http://www.w3.org/1998/Math/MathML" display="inline"><mrow><msub>'
        "<mi>a</mi><mi>m</mi></msub><mo>=</mo><mn>1</mn></mrow></math> holds</p>"
    )
    block = shown("$$\nz = \\sum_m a_m f_m\n+ b\n$$")
    assert block.startswith('<p><span class="equation"><math ')
    assert 'display="block"' in block
    assert "∑" in block
    assert "$" not in block


def test_underscores_and_stars_of_equations_are_no_emphasis():
    text = shown("$a*b$ and $c*d$")
    assert text.count("<math") == 2
    assert "<em>" not in text


@pytest.mark.parametrize(
    "text",
    ["`$x$`", "```\n$$x$$\n```", "$DATA or $OTHER", "$5/$6", r"a \$x\$", "3 $ or 4$", "US$3, 4$"],
)
def test_code_and_dollars_stay(text):
    assert "<math" not in shown(text)
    assert shown(text).count("$") == text.count("$")


def test_less_than_is_escaped():
    assert "<mo>&lt;</mo>" in mathml("a < b")


def test_an_unknown_command_is_refused():
    with pytest.raises(ValueError, match=r"equation x \\nosuch y: cannot read \\nosuch"):
        mathml(r"x \nosuch y")
