"""How every process that the project starts is started: by this file, never by a name.

``python -m benchmark`` looks into the current directory first, where a user's own ``benchmark.py``,
``yaml.py`` or ``torch/`` may lie. ``python -P …/benchmark/start.py benchmark fit …`` does what
``python -m benchmark fit …`` does, but takes the project's packages from beside this file and the
libraries from where they are installed. Processes that it starts in turn (Lightning runs the same
file again for each further device, W&B and data loaders their own) do the same.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

FILE = Path(__file__).resolve()
ROOT = FILE.parents[1]
PACKAGES = (
    "benchmark", "contract", "datamodules", "leaderboards", "lightning_modules", "lungbench",
)  # fmt: skip
"""What is imported from beside this file."""


def command(module: str, *words: str) -> list[str]:
    """Return the command that runs a module of the project in a process of its own.

    Args:
        module: a module with a function ``main``, or a package with a ``__main__`` that has one.
        words: its arguments.
    """
    return [sys.executable, "-P", str(FILE), module, *words]


class OwnPackages:
    """Finds the project's packages beside this file, whatever ``sys.path`` holds."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return where a package of the project lies; nothing for any other name."""
        if path is not None or name not in PACKAGES:
            return None
        return importlib.machinery.PathFinder.find_spec(name, [str(ROOT)], target)


def add_code_folders(folders: Sequence[str]) -> None:
    """Let a user's own Python files be imported, after all else.

    Behind the libraries, so that a user's ``yaml.py`` is not taken for the library's.

    Args:
        folders: where they lie.
    """
    sys.path += [folder for folder in folders if folder not in sys.path]


def _make_safe() -> None:
    """Look nowhere near the current directory, nor into this file's folder, from here on."""
    os.environ["PYTHONSAFEPATH"] = "1"
    if not sys.flags.safe_path:  # Lightning's further processes start without -P
        sys.path[:] = [place for place in sys.path if place not in ("", str(FILE.parent))]
    sys.meta_path.insert(0, OwnPackages)  # type: ignore[arg-type]


def _run(module: str, arguments: Sequence[str]) -> int:
    spec = importlib.util.find_spec(module)
    is_package = spec is not None and spec.submodule_search_locations is not None
    code: int = importlib.import_module(f"{module}.__main__" if is_package else module).main(
        arguments
    )
    return code


if __name__ in ("__main__", "__mp_main__"):  # the latter: a process of multiprocessing
    _make_safe()
if __name__ == "__main__":
    sys.exit(_run(sys.argv[1], sys.argv[2:]))
