"""Lets pages of the site link to files outside docs/, as they do where the repository is browsed.

What is outside docs/ keeps its path on the site, what is inside loses ``docs/``. A file that a page links to
becomes part of the site, and links are rewritten; MkDocs then finds those that lead nowhere.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCS = "docs/"
OUTSIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "examples/README.md")
"""Pages of the navigation that are not in docs/."""

LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")
"""A link of Markdown to another file: its start, the path, and the rest with the heading."""


ROLE = re.compile(r":(?:func|class|mod|meth|attr):<code>~?([\w.]+)</code>")
"""A role of reStructuredText in a docstring, as Markdown renders it."""


def _on_site(path: str) -> str:
    return path.removeprefix(DOCS)


def _in_repository(uri: str) -> str:
    return uri if (ROOT / uri).is_file() else DOCS + uri


def _targets(page: str) -> set[str]:
    """Files of the repository that a page links to."""
    if not page.endswith(".md"):
        return set()
    links = LINK.findall((ROOT / page).read_text(encoding="utf-8"))
    return {posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) for _, path, _ in links}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is outside docs/ and linked to."""
    waiting = [DOCS + file.src_uri for file in files.documentation_pages()] + list(OUTSIDE)
    seen: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in seen or path.startswith("..") or not (ROOT / path).is_file():
            continue
        seen.add(path)
        waiting += _targets(path)
        if not path.startswith(DOCS):
            shown = InclusionLevel.UNDEFINED if path.endswith(".md") else InclusionLevel.INCLUDED
            files.append(File.generated(config, path, abs_src_path=str(ROOT / path), inclusion=shown))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links between files of the repository links between files of the site."""
    uri = page.file.src_uri
    here = posixpath.dirname(_in_repository(uri))

    def rewritten(link: re.Match[str]) -> str:
        start, path, end = link.groups()
        target = _on_site(posixpath.normpath(posixpath.join(here, path)))
        return start + posixpath.relpath(target, posixpath.dirname(uri) or ".") + end

    return LINK.sub(rewritten, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Show names in docstrings as code, without their role."""
    return ROLE.sub(r"<code>\1</code>", html)
