"""The one thing that pyproject.toml cannot say: how README.md reads away from its repository.

On a package index a relative link leads nowhere, and the project names no address. So pictures and
diagrams are left out there, and a link to a file keeps its words and names the file instead.
"""

import re
from pathlib import Path

from setuptools import setup

PICTURE = re.compile(r"^!\[[^\]]*\]\((?!https?:)[^)]+\)\n\n?", re.MULTILINE)
DIAGRAM = re.compile(r"^```mermaid\n.*?^```\n\n?", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)[^)]*\)")


def for_an_index(text: str) -> str:
    """Return the README without relative links and pictures."""
    return LINK.sub(r"\1 (`\2`)", DIAGRAM.sub("", PICTURE.sub("", text)))


if __name__ in ("__main__", "builtins"):
    setup(
        long_description=for_an_index(Path("README.md").read_text(encoding="utf-8")),
        long_description_content_type="text/markdown",
    )
