# SPDX-License-Identifier: BSD-3-Clause
"""What MkDocs does with the documents beyond its own: see mkdocs.yml.

- Documents outside docs/ become pages (:data:`PAGES`).
- Links are followed as in the repository. One to a page leads to it; one to any other file shows the file's path.
- ``<!-- run: ... -->`` markers are left out.
- Roles of the docstrings (``:class:`~a.B```) are shown as code.
- A page that would load something from elsewhere is warned about, so that a strict build fails: the site works offline.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "releases.md",
    "CONTRIBUTING.md": "contributing.md",
    "docker/README.md": "container.md",
    "exts/gr00t_rl/gr00t_rl/assets/checkpoints/README.md": "base_policies.md",
}
"""Documents outside docs/, and the pages made of them."""

logger = logging.getLogger("mkdocs.hooks.site")
"""Below MkDocs' own, which counts warnings."""

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_MARKER = re.compile(r"\s*<!-- run: .* ?-->\s*")
_LOADED = re.compile(
    r"""<(?:script|link|img|iframe|source|video|audio)\b[^>]*?\b(?:src|href)=["']?(?:https?:)?//[^>]*>"""
)

_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):<code>(~?)([\w.]+)</code>")


def page_of(path: str) -> str | None:
    """Return the site's name of a file of the repository, or None if the site does not have it."""
    if path in PAGES:
        return PAGES[path]
    return path.removeprefix("docs/") if path.startswith("docs/") else None


def source_of(page: str) -> str:
    """Return the repository's path of a page."""
    return next((path for path, name in PAGES.items() if name == page), f"docs/{page}")


def followed(link: re.Match[str], source: str) -> str:
    """Return a link of the document ``source`` (its path in the repository) as it must read on the site."""
    picture, text, target = link.groups()
    path, _, anchor = target.partition("#")
    if not path or re.match(r"[a-z]+:", target):
        return link[0]
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    page = page_of(path)
    if page is None:
        if text.startswith("`"):
            return text
        return f"`{path}`" if text == path else f"{text} (`{path}`)"
    relative = posixpath.relpath(page, posixpath.dirname(page_of(source) or "") or ".")
    return f"{picture}[{text}]({relative}{'#' if anchor else ''}{anchor})"


def as_page(text: str, source: str) -> str:
    """Return the text of a document as a page: links followed, markers left out; blocks of code stay as they are."""
    lines, in_code = [], False
    for line in text.split("\n"):
        if line.startswith("```"):
            in_code = not in_code
        elif not in_code and _MARKER.fullmatch(line):
            continue
        lines.append(line if in_code else _LINK.sub(lambda link: followed(link, source), line))
    return "\n".join(lines)


def loaded_from_elsewhere(html: str) -> list[str]:
    """Return the tags of a page that load something from another host."""
    return [tag[0] for tag in _LOADED.finditer(html)]


def without_roles(html: str) -> str:
    """Return a page with the roles of its docstrings as plain code: ``:class:`~a.B``` as ``B``."""
    return _ROLE.sub(
        lambda role: f"<code>{role[2].rpartition('.')[2] if role[1] else role[2].lstrip('.')}</code>", html
    )


# -- what MkDocs calls -------------------------------------------------------------------------------------------------


def on_files(files: Any, *, config: Any) -> Any:
    """Add the documents outside docs/."""
    from mkdocs.structure.files import File  # pyright: ignore[reportMissingImports]  # only where the site is built

    for path, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Turn a document into a page."""
    return as_page(markdown, source_of(page.file.src_uri))


def on_page_content(html: str, *, page: Any, config: Any, files: Any) -> str:
    """Show docstrings' roles as code."""
    return without_roles(html)


def on_post_page(output: str, *, page: Any, config: Any) -> str:
    """Warn of what a reader would miss without a network, or should not see."""
    for tag in loaded_from_elsewhere(output):
        logger.warning("%s loads something from elsewhere: %s", page.file.src_uri, tag)
    if "<!-- run:" in output:
        logger.warning("%s shows a marker <!-- run: ... -->", page.file.src_uri)
    return output


def on_serve(server: Any, *, config: Any, builder: Any) -> Any:
    """Build anew when a document outside docs/ changes."""
    for path in PAGES:
        server.watch(str(ROOT / path))
    return server
