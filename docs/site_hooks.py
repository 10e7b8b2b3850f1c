"""The site's pages that are files of the repository's root, and its links to other files there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "license.md",
    "CITATION.cff": "citation.md",
}
"""Files of the root, and the pages that they become."""
VERBATIM = {"LICENSE": "Licence", "CITATION.cff": "Citation"}
"""Those that are no Markdown, and their titles."""
MERMAID = re.compile(r"^```mermaid\n.*?^```\n\n?", re.MULTILINE | re.DOTALL)
"""Left out: the theme would load what draws it from elsewhere."""
OUTSIDE = re.compile(r"\[[^\]]+\]\(\.\./([^)#\s]+)\)")


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add the pages that lie outside the folder of the site."""
    for name, page in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        title = VERBATIM.get(name)
        content = f"# {title}\n\n```text\n{text}```\n" if title else as_page(text)
        files.append(File.generated(config, page, content=content))
    return files


def as_page(text: str) -> str:
    """Return a Markdown file of the root with its links as they are from within the site."""
    text = MERMAID.sub("", text).replace("](docs/", "](")
    for name, page in PAGES.items():
        text = text.replace(f"]({name})", f"]({page})")
    return text


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Name files of the repository that are no pages, instead of linking to them."""

    def named(link: re.Match[str]) -> str:
        return f"`{link[1]}`" if (ROOT / link[1]).is_file() else link[0]

    return OUTSIDE.sub(named, markdown)
