"""How a page's blocks are read, shortened and run, and how its programs are started."""

import subprocess

import page_commands
import page_server
import page_shell
import pytest
from page_commands import blocks


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


FENCE = r"expected ```LANGUAGE|expected the end|no end"
COMMENT = r"reasons are needs a GPU|of given, shorter|above bash"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        *(
            (f"{comment}\n\n```bash\nls\n```\n", COMMENT)
            for comment in (
                "<!-- not run: is slow -->",
                "<!-- notrun: needs a GPU -->",
                "<!--given: logs-->",
                "<!-- given: a > b --> <!-- given: logs -->",
                "<!-- output -->",
            )
        ),
        *(
            (f"Words.\n\n{fence}\n", FENCE)
            for fence in (
                "``` bash\nls\n```",
                "> ```bash\n> ls\n> ```",
                "- ```bash\n  ls\n  ```",
                "```sh\nls\n```",
                "~~~bash\nls\n~~~",
                "```\nls\n```",
                "```bash\nls",
                "```bash\nls\n  ```\n",
                "```python title='a.py'\nx\n```",
            )
        ),
        ("```text\nprinted\n```", "a text block without"),
        ('```json\n{"a": }\n```', "a block is not json"),
        ("```yaml\na: [1\n```", "a block is not yaml"),
    ],
)
def test_what_is_not_understood_is_an_error(wrong, told):
    with pytest.raises(ValueError, match=told):
        blocks(wrong)


@pytest.mark.slow
def test_programs_of_the_server_are_as_pythons_own(tmp_path):
    (tmp_path / "own.py").write_text("import sys\nprint(__name__, sys.argv, sys.path[0])")
    words = """
        echo in | python -c 'import sys; print(sys.argv, sys.path[0], input())' a 'b c'
        python own.py x; python -m own y; python -c 'raise SystemExit(3)' || echo $?
        OWN=1 python -c 'import os, sys; print(os.environ["OWN"], file=sys.stderr)' 2>&1
        python -c 'import os; os.kill(os.getpid(), 9)' || echo $?; python --version
        JAX_PLATFORMS=cpu python -c 'import jax; print(jax.config.jax_platforms)'
        XLA_FLAGS=--xla_force_host_platform_device_count=3 python -c 'import jax
print(jax.device_count(), jax.random.uniform(jax.random.key(0)))'; dtn-jax nonsense || echo $?
    """
    own = page_shell.environment()
    with page_server.running(page_shell.environment()) as quick:
        printed = []
        for programs in (page_shell.PROGRAMS, quick):
            path = {"PATH": f"{programs}:{own['PATH']}"}
            call = ["bash", "-c", words]
            done = subprocess.run(
                call, cwd=tmp_path, env=own | path, capture_output=True, text=True
            )
            printed.append(done.stdout)
    assert printed[0] == printed[1]
    assert len(printed[0].splitlines()) == 10
