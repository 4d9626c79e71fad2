"""Names in LaTeX, HTML and pictures: no letter of one is a sign of the format."""

import html.parser
import io

import pytest
from matplotlib.figure import Figure

from dtn_jax.report import as_written
from dtn_jax.report.html import formatted
from experiments.tables import latex, markdown
from experiments.tables.text import Text

NAMES = [
    "<script>alert(1)</script>",
    "a|b",
    "[x](http://y)",
    "&lt;b&gt;",
    "two\nlines",
    "$x^{2}_~%&#\\{}$",
    "$\\frac{",
]


@pytest.mark.parametrize("name", NAMES)
def test_latex_has_no_bare_sign(name):
    found = latex.escaped(name)
    for known in set(latex.ESCAPES.values()):
        found = found.replace(known, "")
    assert not set(found) & set("$&%#_{}~^\\\n<>|")


def test_latex_of_a_name():
    assert latex.escaped("a$b{c^d~e") == r"a\$b\{c\textasciicircum{}d\textasciitilde{}e"
    assert latex.escaped("p < 0.05 ± 1") == r"p $<$ 0.05 $\pm$ 1"


def test_every_table_s_markdown_goes_through_it():
    made = markdown.markdown_table(Text("t", ("", "a|b"), (("<i>", "1"),)))
    assert made == "|  | a\\|b |\n| --- | ---: |\n| &lt;i> | 1 |\n"


@pytest.mark.parametrize("name", NAMES)
def test_html_has_no_tag_of_a_name(name):
    class Tags(html.parser.HTMLParser):
        found = ()

        def handle_starttag(self, tag, attributes):
            self.found += (tag,)

    parser = Tags()
    parser.feed(formatted(f"`{name}` **{name}** {name}"))
    assert set(parser.found) <= {"code", "b"}


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_of_any_name_can_be_drawn(name):
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    axes.plot([1, 10], [1, 1000], label=name)
    axes.set_title(name)
    axes.set_yscale("log")
    axes.set_xticks([1, 10], [name, name])
    axes.legend()
    as_written.plain(figure)
    figure.savefig(io.BytesIO(), format="png")
    assert not axes.title.get_parse_math()
    assert all(label.get_parse_math() for label in axes.get_yticklabels())
