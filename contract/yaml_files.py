"""YAML as the project reads and writes it: plain values, no key twice, nothing that explodes.

Dates stay text. Tags, recursive values and keys that are neither text nor whole numbers are
refused, since no key of any file is meant to hold them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from contract.errors import UserError
from contract.names import in_short

LARGEST_BYTES = 2_000_000
MOST_VALUES = 100_000
"""Of a file with its aliases written out; ten lines of aliases can stand for billions."""

DEEPEST_FAST = 50
"""How deep values lie at most in a text that is left to libyaml."""

_PLAIN = ("str", "int", "float", "bool", "null", "map", "seq", "merge")
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in _PLAIN}
_MERGE = "tag:yaml.org,2002:merge"
_KEY_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int")} | {_MERGE}


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, for which a date is text."""


class _FastLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The same on libyaml: some ten times as fast, but it recurses without a limit."""


for _loader in (_Loader, _FastLoader):
    _loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in rules if not tag.endswith(":timestamp")]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """PyYAML's safe dumper, which also quotes what readers of YAML 1.2 take for a number."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.[\d_]+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)  # fmt: skip


def read_yaml(path: Path) -> Any:
    """Return the value that a YAML file holds; None for an empty one.

    Raises:
        UserError: if it is no readable file of plain YAML in UTF-8.
    """
    if path.is_dir():
        raise UserError(path, "a folder", "a YAML file")
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except FileNotFoundError:
        raise UserError(path, "no such file", "a YAML file") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(path, f"a file that cannot be read ({reason})", "a YAML file") from None
    if len(content) > LARGEST_BYTES:
        raise UserError(path, "more than 2 MB", "a YAML file written by hand")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        found = f"a byte in line {line} that is no UTF-8"
        raise UserError(path, found, "text in UTF-8", "save it as UTF-8") from None
    return parse_yaml(text, path)


def read_mapping(path: Path, keys: str) -> dict[str, Any]:
    """Return a YAML file's mapping.

    Args:
        path: the file.
        keys: which keys are expected, for the message.

    Raises:
        UserError: as ``read_yaml``, and if the file is empty or holds no mapping of text keys.
    """
    settings = read_yaml(path)
    if settings is None:
        raise UserError(path, "an empty file", f"a mapping with the keys {keys}")
    if not isinstance(settings, dict):
        found = f"no mapping of keys to values ({in_short(settings)})"
        raise UserError(path, found, f"the keys {keys}")
    for key in settings:
        if not isinstance(key, str):
            raise UserError(path, f"the key {key!r}, which is no text", f"the keys {keys}")
    return settings


def parse_yaml(text: str, where: object) -> Any:
    """Return the value of a YAML text.

    Args:
        text: the text.
        where: the file or option that it comes from.

    Raises:
        UserError: if it is no plain YAML.
    """
    try:
        loader = _FastLoader(text) if _shallow(text) else _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, where, {}, ())
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        at = f" in line {place.line + 1}, column {place.column + 1}" if place else ""
        problem = (error.problem or error.context or "").replace("'\\t'", "a tab")
        raise UserError(where, f"no valid YAML{at}: {problem}", todo="mend it") from None
    except yaml.YAMLError:
        raise UserError(where, "bytes that no YAML text holds", "a text file") from None
    except RecursionError:
        raise UserError(where, "values nested too deep to be read", "a few levels") from None
    except ValueError as error:  # a number of thousands of digits
        raise UserError(where, f"a value that cannot be read ({error})", "plain values") from None


def yaml_text(value: Any, width: int = 80, flow: bool | None = False) -> str:
    """Return plain values as YAML that every reader of a cell's config reads alike.

    A hash such as ``12e4567`` is quoted: PyYAML reads it as text, jsonargparse as a number.

    Args:
        value: mappings, lists and plain values; keys keep their order.
        width: where lines are broken, in characters.
        flow: as PyYAML's ``default_flow_style``.
    """
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width,
        default_flow_style=flow,
    )  # fmt: skip


def _shallow(text: str) -> bool:
    """Return whether libyaml may build a text's values; what it cannot read it need not explain."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_FastLoader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > DEEPEST_FAST:
                    return False
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except (yaml.YAMLError, ValueError, RecursionError):
        return False
    return True


def _measure(node: yaml.Node, where: object, sizes: dict[int, int], above: tuple[int, ...]) -> int:
    """Return how many values a node stands for, aliases written out; refuse what is not plain."""
    line = node.start_mark.line + 1
    if id(node) in above:
        raise UserError(where, f"a value in line {line} that holds itself", "values that end")
    if id(node) in sizes:
        return sizes[id(node)]
    if node.tag not in _PLAIN_TAGS:
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        raise UserError(where, f"the tag {tag} in line {line}", "plain values without tags")
    below: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        _check_keys(node, where)
        below = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        below = node.value
    size = 1 + sum(_measure(part, where, sizes, (*above, id(node))) for part in below)
    if size > MOST_VALUES:
        found = f"aliases in line {line} that stand for more than {MOST_VALUES} values"
        raise UserError(where, found, "a file written by hand")
    sizes[id(node)] = size
    return size


def _check_keys(node: yaml.MappingNode, where: object) -> None:
    seen: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag not in _KEY_TAGS:
            found = f"a key in line {line} that is neither text nor a whole number"
            raise UserError(where, found, "keys such as name")
        if key.tag == _MERGE:
            continue
        if (key.tag, key.value) in seen:
            before = seen[key.tag, key.value]
            found = f"the key {key.value!r} twice, in lines {before} and {line}"
            raise UserError(where, found, "each key once", "keep one of the two")
        seen[key.tag, key.value] = line
    if len({tag for tag, _ in seen}) > 1:
        found = f"keys of text and of numbers in one mapping, in line {node.start_mark.line + 1}"
        raise UserError(where, found, "one kind of keys")
