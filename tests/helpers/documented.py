"""The commands that README and docs show, in code blocks and within sentences."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
OWN = ("lungbench", "make", "python")
OTHERS = {
    "cp": "a file by hand",
    "pip": "asks a package registry",
    "pre-commit": "changes the checkout's hooks",
    "srun": "needs a cluster",
    "uv": "asks a package registry",
    "wandb": "sends to a server",
}
"""Programs that are not the project's, and why they are not run as they stand."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?<=\n\n)(?: {4}[^\n]*\n)+")
INLINE = re.compile(r"`([^`]+)`")
WINDOWS = ".venv\\Scripts\\"
ASSIGNED = re.compile(r"[A-Z_]+=")


@dataclass(frozen=True)
class Command:
    """A command as a page shows it."""

    page: str
    words: tuple[str, ...]
    """What the shell would pass on, without variables set before it."""
    whole: bool
    """Whether it stands in a code block: within a sentence, arguments may be left out."""

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"

    @property
    def arguments(self) -> list[str] | None:
        """What ``lungbench`` gets, or None where it is not called."""
        if self.words[0] == "lungbench":
            return list(self.words[1:])
        if self.words[:3] == ("python", "-m", "benchmark"):
            return list(self.words[3:])
        return None


def commands() -> list[Command]:
    """All commands of all pages, in their order."""
    found = []
    for path in PAGES:
        page = path.relative_to(ROOT).as_posix()
        text = path.read_text(encoding="utf-8")
        blocks = [
            (m.start(), m[2], m[1] == "sh") for m in FENCE.finditer(text) if m[1] in ("", "sh")
        ]
        prose = FENCE.sub(lambda m: "\n" * m[0].count("\n"), text)
        blocks += [(m.start(), m[0], False) for m in INDENTED.finditer(prose)]
        for _, block, shell in sorted(blocks):
            found += list(_of_block(page, block, shell))
        for span in INLINE.findall(INDENTED.sub("\n", prose)):
            words = _words(" ".join(span.split()).replace("…", ""))
            if words and words[0] in OWN:
                found.append(Command(page, words, whole=False))
    return found


def _of_block(page, block, shell):
    """A block's commands; in a block that says ``sh`` every line has to be one."""
    for line in block.replace("\\\n", " ").splitlines():
        words = _words(line)
        if words and words[0] in (*OWN, *OTHERS):
            yield Command(page, words, whole=True)
        else:
            assert not (words and shell), f"{page}: {line!r} is no command that the tests know"


def _words(line):
    try:
        words = shlex.split(line.replace(WINDOWS, ""), comments=True)
    except ValueError:  # a table or a tree of folders
        return ()
    while words and ASSIGNED.match(words[0]):
        del words[0]
    if ">" in words:  # what the shell does with the output
        words = words[: words.index(">")]
    if words:
        words[0] = words[0].removeprefix(".venv/bin/")
    return tuple(words)
