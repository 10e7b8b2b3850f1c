"""The one rule for names of systems, suites, protocols, data sets and foreign systems.

A name becomes a folder below RUNS, a word of a shell script and a cell of a table: whatever obeys
the rule is harmless in all of them.
"""

from __future__ import annotations

import re
import unicodedata

from contract.errors import UserError

RULE = "letters, digits, '.', '_' and '-', at most 100 of them, and neither '.' nor '..'"
PATTERN = (
    r"^([A-Za-z0-9_-][A-Za-z0-9._-]{0,99}"
    r"|\.[A-Za-z0-9_-][A-Za-z0-9._-]{0,98}|\.\.[A-Za-z0-9._-]{1,98})$"
)
"""The same as a regular expression that JSON schemas can hold, without looking ahead."""


_NO_TEXT = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of control signs, lone surrogates and separators of lines."""
_AS_YAML = {None: "null", True: "true", False: "false"}


def is_name(name: object) -> bool:
    """Tell whether something is a name by the rule."""
    return isinstance(name, str) and re.fullmatch(PATTERN, name) is not None


def require_name(name: object, where: object) -> str:
    """Return a name that obeys the rule.

    Args:
        name: what stands there.
        where: the file and key, or the option, that states it.

    Raises:
        UserError: if it does not obey.
    """
    if not isinstance(name, str) or not is_name(name):
        raise UserError(where, f"the name {in_short(name)}", RULE, "choose another name")
    return name


def odd_signs(text: str, more: str = "") -> str:
    """Return what in a path is no text (line breaks, control signs, bytes that are not UTF-8).

    Args:
        text: the path.
        more: further signs that do not belong there.
    """
    odd = {sign for sign in text if sign in more or unicodedata.category(sign) in _NO_TEXT}
    return "".join(sorted(odd))


def escaped(text: str) -> str:
    """Return a path as a message can show it, whatever signs it holds."""
    return "".join(ascii(sign)[1:-1] if odd_signs(sign) else sign for sign in text)


def in_short(value: object, length: int = 60) -> str:
    """Return a value as a message shows it, on one line."""
    text = _AS_YAML.get(value, repr(value)) if isinstance(value, bool | None) else repr(value)
    return text if len(text) <= length else text[: length - 1] + "…"
