"""What `mkdocs.yml` calls: equations become MathML, and pages are made from the code.

Nothing of what is made is kept beside the pages; `make docs` makes it anew.
"""

from __future__ import annotations

import pathlib
import re

import api_pages
import commands_page
import options_page
import repository_pages
import schema_page
from mathml import Equations
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = pathlib.Path(__file__).parents[2]
FLAG = re.compile(r"(?<=[\s>(\[])(--[a-zA-Z][\w.]*)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    config.markdown_extensions.append(Equations())
    config.watch += [str(ROOT / name) for name in ("dtn_jax", "experiments", "README.md")]
    config.repo_url = repository_pages.REPOSITORY or None
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for path, text in made_pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_) -> str:
    if page.file.generated_by:
        return markdown
    return repository_pages.linked(markdown, f"docs/{page.file.src_uri}", page.file.src_uri)


def on_page_content(html: str, **_) -> str:
    """No line ends within the name of a command's option: `.flag` in theme/site.css."""
    return FLAG.sub(r'<span class="flag">\1</span>', html)


def made_pages() -> dict[str, str]:
    """{path in the site: Markdown}, of all pages that no file of docs/ holds."""
    return {
        "options.md": options_page.page(),
        "commands.md": commands_page.page(),
        "schema.md": schema_page.page(),
        **api_pages.pages(),
        **repository_pages.pages(),
    }
