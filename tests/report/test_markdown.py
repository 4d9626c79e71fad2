"""Names in Markdown, as a renderer reads them: no letter of one is a sign of the format."""

import markdown_it
import pytest

from dtn_jax.report.markdown import escaped, one_line, prose, table

NAMES = [
    "<script>alert(1)</script>",
    "a|b\\|c\\",
    "[x](http://y) ![z](u) [w]: http://v",
    "&lt;b&gt; &#60; R&D",
    "two\nlines\x1b[2J",
    "$x^{2}_~~%&#\\{}$",
    "**a** *b* __c__ _d_ `e` a*b*c",
    "# h",
    "> q",
]
MARKDOWN = markdown_it.MarkdownIt("commonmark").enable("table").enable("strikethrough")


def read(text, kind):
    """[its parts, as (type, text)] of each token of a kind that has text in it."""
    tokens = MARKDOWN.parse(text)
    inside = [t.children for i, t in enumerate(tokens) if i and tokens[i - 1].type == kind]
    return [[(child.type, child.content) for child in children] for children in inside]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text(name):
    assert read(escaped(name), "paragraph_open") == [[("text", one_line(name))]]


@pytest.mark.parametrize("name", NAMES)
def test_a_table_keeps_its_cells(name):
    made = table([name, "x"], [[name, "1"], ["y", name]])
    assert made.split("\n")[1] == "| --- | ---: |"
    own = [("text", one_line(name))]
    assert read(made, "th_open") == [own, [("text", "x")]]
    assert read(made, "td_open") == [own, [("text", "1")], [("text", "y")], own]


def test_prose_keeps_code_and_bold():
    ((*parts,),) = read(prose("the *best*\n of `a<b>_c`: **0.7** <i>"), "paragraph_open")
    assert ("code_inline", "a<b>_c") in parts
    assert ("strong_open", "") in parts
    text = "".join(content for _, content in parts)
    assert text == "the *best* of a<b>_c: 0.7 <i>"


def test_what_is_no_sign_stays():
    for text in ("p < 0.05 & [red] a_b", "`a<b>|c`", "**bold** `--config.x='a b'`", "[-0.1, 0.2]"):
        assert prose(text) == text


def test_an_address_is_no_link():
    assert "http://" not in escaped("http://x.y")
    assert "www." not in escaped("www.x.y")
