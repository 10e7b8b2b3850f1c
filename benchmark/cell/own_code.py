"""A user's own code: imported before all else, and its faults told with their line."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from contract.errors import UserError
from contract.language import Place, dotted


def import_own_code(where: object, settings: Mapping[str, Any], folders: Sequence[str]) -> None:
    """Import the modules in a user's folders that class paths name.

    Args:
        where: the file that the message is to name.
        settings: a config.
        folders: the user's folders, which Python already looks in.

    Raises:
        UserError: naming key, error, file and line, if a module cannot be imported.
    """
    for place, path in _class_paths(settings, ()):
        module = path.rpartition(".")[0]
        inside = Path(*module.split("."))
        if not module or not any(
            (Path(folder) / file).is_file()
            for folder in folders
            for file in (inside.with_suffix(".py"), inside / "__init__.py")
        ):
            continue
        try:
            import_module(module)
        except Exception as error:
            found = f"{path}, whose import fails: {told_with_line(error, folders)}"
            relative = isinstance(error, ImportError) and "relative import" in str(error)
            todo = "write `import other`, not `from . import other`" if relative else ""
            raise UserError(
                f"{where}: {dotted(place)}", found, "a module that can be imported", todo
            ) from error


def told_with_line(error: BaseException, folders: Sequence[str]) -> str:
    """Return an error's kind and words, and where in a user's folder it arose."""
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    line = line_in(error, folders)
    return f"{told} ({line})" if line else told


def line_in(error: BaseException, folders: Sequence[str]) -> str:
    """Return the last file and line of a user's folders that an error came through, if any."""
    inside = [Path(folder) for folder in folders]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if any(folder in file.parents for folder in inside) and "site-packages" not in file.parts:
            return f"{file.name}, line {frame.lineno}"
    return ""


def fault_of_own_code(error: BaseException | None, folders: Sequence[str]) -> str:
    """Return, of an error and those behind it, what a user's own code raised; empty if nothing."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if line_in(error, folders):
            return told_with_line(error, folders)
        error = error.__cause__ or error.__context__
    return ""


def _class_paths(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, Mapping):
        path = value.get("class_path")
        if isinstance(path, str):
            yield (*place, "class_path"), path
        for key, inner in value.items():
            yield from _class_paths(inner, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _class_paths(inner, (*place, index))
