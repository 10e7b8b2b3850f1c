"""The one exception that is meant for the user's eyes."""

from __future__ import annotations


class UserError(Exception):
    """A fault that the user can mend; the command line prints it without a traceback.

    Args:
        where: the file, folder, option or configuration key at fault.
        found: what is there.
        expected: what should be there.
        todo: what to do about it.
    """

    def __init__(self, where: object, found: str, expected: str = "", todo: str = "") -> None:
        self.where, self.found, self.expected, self.todo = str(where), found, expected, todo
        text = f"{where}: found {found}"
        text += f"; expected {expected}" if expected else ""
        text += f". To do: {todo}" if todo else ""
        super().__init__(text)

    def __reduce__(self) -> tuple[type[UserError], tuple[str, ...]]:
        """Survive a trip between processes."""
        return type(self), (self.where, self.found, self.expected, self.todo)


class DataError(UserError):
    """A data set on disk is incomplete, unreadable or contradicts its official layout.

    Args:
        where: as for ``UserError``, like the next three.
        found: what is there.
        expected: what should be there.
        todo: what to do about it.
        kind: what a check of the data calls the fault, where it is one of a known kind.
    """

    def __init__(
        self, where: object, found: str, expected: str = "", todo: str = "", kind: str = ""
    ) -> None:
        self.kind = kind
        super().__init__(where, found, expected, todo)

    def __reduce__(self) -> tuple[type[UserError], tuple[str, ...]]:
        """Survive a trip between processes."""
        return type(self), (self.where, self.found, self.expected, self.todo, self.kind)


class MissingDataError(DataError):
    """A data set's folder is absent altogether: its cells are ``no_data``, not failed."""
