"""Python's modules as source files: found and parsed, not imported."""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

import griffe

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Untold(Exception):  # noqa: N818 - no error: the answer "cannot be told from source"
    """A class exists, or may exist, but its arguments do not stand in a source file."""


class Absent(Exception):  # noqa: N818 - the answer "there is no such class"
    """A class path leads nowhere.

    Args:
        found: what is there instead.
        expected: what should be there.
        todo: what may have been meant.
    """

    def __init__(self, found: str, expected: str, todo: str = "") -> None:
        super().__init__(found)
        self.found, self.expected, self.todo = found, expected, todo


@cache
def module_file(module: str, folders: tuple[str, ...]) -> str | None:
    """Return a module's file without importing anything; ``built-in`` where it has none."""
    top, *below = module.split(".")
    try:  # installed packages first: a cell's process appends a user's folders to its path
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if (spec is None or spec.origin is None) and folders:
        spec = PathFinder.find_spec(top, list(folders)) or spec
    name = top
    for part in below:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name += f".{part}"
        spec = PathFinder.find_spec(name, list(spec.submodule_search_locations))
    if spec is None:
        return None
    return spec.origin or "built-in"


class _Outline(griffe.Visitor):
    """Passes over methods, most of a library's source, but for what a class is made with."""

    def visit(self, node: ast.AST) -> None:
        """Visit a node."""
        method = isinstance(node, _FUNCTIONS) and isinstance(self.current, griffe.Class)
        if not method or getattr(node, "name", "") == "__init__":
            super().visit(node)


def visit(module: str, file: str, methods: bool = False) -> griffe.Module:
    """Return a module as its file defines it now.

    Args:
        module: its dotted name.
        file: its source file.
        methods: whether classes have all their methods, or only ``__init__``.

    Raises:
        Absent: if the file is no readable Python.
    """
    return _parsed(module, file, methods, Path(file).stat().st_mtime_ns)


def with_methods(found: griffe.Object) -> griffe.Object:
    """Return a definition again, with all its methods."""
    module = found.module
    tree = visit(module.path, str(module.filepath), methods=True)
    inside: griffe.Object = tree[found.path.removeprefix(f"{module.path}.")]
    return inside


@cache
def _parsed(module: str, file: str, methods: bool, changed: int) -> griffe.Module:
    path = Path(file)
    try:
        code = path.read_text(encoding="utf-8")
        *above, name = module.split(".")
        parent = None
        for package in above:  # relative imports are read from their package
            parent = griffe.Module(package, parent=parent)
        if methods:
            return griffe.visit(name, filepath=path, code=code, parent=parent)
        return _Outline(name, path, code, griffe.load_extensions(), parent).get_module()
    except SyntaxError as error:
        found = f"{path.name}, no valid Python in line {error.lineno} ({error.msg})"
        raise Absent(found, "a module that can be imported", "mend it") from None
    except (OSError, ValueError) as error:
        raise Absent(f"{path.name}, which cannot be read ({error})", "Python in UTF-8") from None
