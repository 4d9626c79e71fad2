"""How a page's blocks are read, shortened and run."""

import page_commands
import pytest
from page_commands import blocks, shorter

PAGE = """
<!-- given: logs -->
<!-- shorter: train --a=1; sweep --trials=1 -->
```bash
# what it does
dtn-jax train --x='a|b' \\
    --y=2   # a note
```

```python title="mine.py"
x = 1
```

1. In a list

    <!-- output: 2 -->
    ```text
    one
      two
    ```

<!-- not run: needs a GPU -->
```bash
nvidia-smi
```
"""


def test_blocks_with_what_is_said_above_them():
    found = blocks(PAGE)
    assert [b.language for b in found] == ["bash", "python", "text", "bash"]
    assert found[0].says == {"given": "logs", "shorter": "train --a=1; sweep --trials=1"}
    assert found[0].lines == ["dtn-jax train --x='a|b' --y=2   # a note"]
    assert found[1].title == "mine.py"
    assert found[2].text == "one\n  two\n"
    assert PAGE[slice(*found[2].span)] == "    one\n      two\n"
    assert found[3].says == {"not run": "needs a GPU"}


@pytest.mark.parametrize(
    "wrong",
    [
        "<!-- not run: is slow -->",
        "<!-- notrun: needs a GPU -->",
        "<!-- shortre: x -->",
        "<!--given: logs-->",
        "<!-- given: a > b --> <!-- given: logs -->",
        "<!-- output -->",
    ],
)
def test_a_comment_that_means_nothing_is_an_error(wrong):
    with pytest.raises(ValueError, match=r"reasons are needs a GPU|of given, shorter|above bash"):
        blocks(f"{wrong}\n\n```bash\nls\n```\n")


@pytest.mark.parametrize(
    "wrong",
    [
        "``` bash\nls\n```",
        "```{.bash}\nls\n```",
        "> ```bash\n> ls\n> ```",
        "- ```bash\n  ls\n  ```",
        "```Bash\nls\n```",
        "```sh\nls\n```",
        "```console\nls\n```",
        "~~~bash\nls\n~~~",
        "````bash\nls\n````",
        "```\nls\n```",
        "```bash\nls",
        "```bash\nls\n  ```\n",
        "```bash\nls\n```python\n```\n",
        "```python title='a.py'\nx\n```",
    ],
)
def test_a_fence_of_another_form_is_an_error(wrong):
    with pytest.raises(ValueError, match=r"expected ```LANGUAGE|expected the end|no end"):
        blocks(f"Words.\n\n{wrong}\n")


@pytest.mark.parametrize(
    ("block", "match"),
    [
        ("```text\nprinted\n```", "a text block without"),
        ('```json\n{"a": }\n```', "a block is not json"),
        ("```yaml\na: [1\n```", "a block is not yaml"),
    ],
)
def test_a_block_that_nothing_holds_to_is_an_error(block, match):
    with pytest.raises(ValueError, match=match):
        blocks(block)


@pytest.mark.parametrize(
    ("line", "end"),
    [
        ("dtn-jax export --x=1", "dtn-jax export --x=1"),
        ("dtn-jax export --x='a;b' | head", "dtn-jax export --x='a;b' --fast | head"),
        ("cd x && python -m experiments.export  # why", None),
        (
            "dtn-jax export > a && dtn-jax export",
            "dtn-jax export --fast > a && dtn-jax export --fast",
        ),
    ],
)
def test_words_are_added_to_commands(line, end):
    if end is None:
        end = "cd x && python -m experiments.export --fast  # why"
    assert shorter(line, "" if "x=1" in line else "export --fast") == end
    assert shorter("make demo  # all", "") == f"make demo OPTIONS='{page_commands.TRAIN}'  # all"
    assert shorter("dtn-jax sweep --trials=20", "").startswith(
        "dtn-jax sweep --trials=20 --trials=2"
    )


@pytest.mark.parametrize(
    ("slices", "kept"),
    [("", "abcde"), ("2", "de"), (":2 -1:", "abe"), ("1:3", "bc"), (":", "abcde")],
)
def test_lines_of_an_output(slices, kept):
    assert page_commands.cut("a\nb \nc\nd\ne\n", slices) == "".join(f"{c}\n" for c in kept)


@pytest.mark.parametrize(
    ("shown", "printed", "missing"),
    [
        ("│ 1 │ 0.91 │ dropout=4e-06 │", "│ 23 │ 0.5 │ dropout=0.3 │\n", []),
        ("━━━\n12 34\n", "", []),
        ('"weight/income": 1.0', '"weight/revenue": 99.0', ["weight/income"]),
        ("auc income@all 0.9", "income@all auc 0.9", ["auc income@all"]),
        ("aa\nbb\ncc", "aa\nbb", ["cc"]),
        ("aa\nbb\ncc\ndd", "bb\ncc\ndd", []),
        ("aa\nbb\ncc\ndd", "cc\ndd", ["aa", "bb"]),
    ],
)
def test_lines_that_are_not_printed(shown, printed, missing):
    (block,) = blocks(f"<!-- output -->\n```text\n{shown}\n```\n")
    assert page_commands.missing(block, printed) == missing
    (block,) = blocks(f"<!-- output -->\n<!-- varies: 2; why -->\n```text\n{shown}\n```\n")
    assert page_commands.missing(block, printed) == []


def test_a_page_runs_as_a_story(tmp_path, monkeypatch):
    (tmp_path / "page.md").write_text(
        'A file:\n\n```python title="a/mine.py"\nprint(6 * 7)\n```\n\n'
        "```bash\npython a/mine.py > b\ncat b; echo $COLUMNS\n```\n\n"
        "<!-- output: 1 -->\n```text\n?\n```\n\n"
        "<!-- not run: shows form -->\n```bash\nexit 3\n```\n"
    )
    monkeypatch.setattr(page_commands, "ROOT", tmp_path)
    folder = tmp_path / "folder"
    folder.mkdir()
    ((block, printed),) = page_commands.run("page.md", folder, short=True)
    assert (block.text, printed) == ("?\n", "42\n88\n")
    assert (folder / "b").read_text() == "42\n"
    (tmp_path / "page.md").write_text("```bash\necho so && false\n```\n")
    with pytest.raises(AssertionError, match="so"):
        page_commands.run("page.md", folder, short=True)
