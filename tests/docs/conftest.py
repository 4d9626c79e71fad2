"""Pages' tests that need what only `make test-slow` installs are not collected without it."""

import importlib.util

SITE = ["test_made_pages.py", "test_mathml.py", "test_notebooks.py", "test_page_text.py"]
collect_ignore = [] if importlib.util.find_spec("mkdocs") else SITE
