"""Annotations in source files to types that a YAML value can be checked against."""

from __future__ import annotations

import ast
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin

import annotated_types
import griffe

from benchmark.planning.signatures import Argument, Sources
from benchmark.planning.source_files import Absent, Untold
from contract.language import Number

_SIMPLE = {"int": int, "float": Number, "bool": bool, "str": str, "None": None}
_LISTS = ("list", "List", "Sequence", "Iterable", "Collection")
_MAPPINGS = ("dict", "Dict", "Mapping", "MutableMapping")
_PLACES = ("typing.", "typing_extensions.", "collections.abc.", "builtins.")
_TENSOR = "torch.Tensor"
"""By this name it is known; PyTorch's first file, which tells where it is, is long to parse."""
_DEEPEST = 12


@dataclass(frozen=True)
class ClassWanted:
    """A mark on a type: an object of a class is wanted, stated by ``class_path``.

    Attributes:
        paths: the classes of which it must be one, or come from one.
        given: how many of its first arguments come from the caller, as an optimiser's parameters.
        itself: whether the class is wanted, not an object of it.
    """

    paths: tuple[str, ...]
    given: int = 0
    itself: bool = False


def type_of(argument: Argument, sources: Sources) -> Any:
    """Return the type of an argument's YAML values; ``Any`` where the source does not tell.

    Objects are marked by :class:`ClassWanted`.
    """
    if argument.annotation is None:
        return Any
    try:
        node = ast.parse(argument.annotation, mode="eval").body
    except SyntaxError:
        return Any
    found = _Reader(sources).read(node, argument.scope, 0)
    return Any if found is NoReturn else found


class _Reader:
    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def read(self, node: ast.expr, scope: griffe.Object, depth: int) -> Any:
        """Return the type that an expression of a scope stands for."""
        if depth > _DEEPEST:
            return Any
        if isinstance(node, ast.Constant):
            return self._constant(node.value, scope, depth)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return _union([self.read(part, scope, depth + 1) for part in (node.left, node.right)])
        if isinstance(node, ast.Subscript):
            return self._subscript(node, scope, depth)
        if isinstance(node, ast.Name | ast.Attribute):
            return self._name(ast.unparse(node), scope, depth)
        return Any

    def _constant(self, value: object, scope: griffe.Object, depth: int) -> Any:
        if value is None:
            return None
        try:
            return self.read(ast.parse(str(value), mode="eval").body, scope, depth + 1)
        except SyntaxError:
            return Any

    def _subscript(self, node: ast.Subscript, scope: griffe.Object, depth: int) -> Any:
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        name = ast.unparse(node.value).rpartition(".")[2]
        if name == "Literal":
            return self._literal(inner)
        if name == "Annotated":
            marks = [mark for mark in map(_mark, inner[1:]) if mark is not None]
            return Annotated[(self.read(inner[0], scope, depth + 1), *marks)]  # type: ignore[return-value]
        if name == "Callable":
            result = self.read(inner[-1], scope, depth + 1)
            first = inner[0].elts if isinstance(inner[0], ast.List) else []
            return _built_later(result, len(first))
        if name in ("type", "Type"):
            return Annotated[str, ClassWanted((), itself=True)]
        parts = [self.read(part, scope, depth + 1) for part in inner if not _is_dots(part)]
        if name in ("Union", "Optional"):
            return _union([*parts, None] if name == "Optional" else parts)
        if name in _LISTS:
            return list[parts[0]]  # type: ignore[valid-type]
        parts = [Any if part is NoReturn else part for part in parts]
        if name in ("tuple", "Tuple"):
            return list[parts[0]] if len(parts) < len(inner) else tuple[tuple(parts)]  # type: ignore[valid-type,misc]
        if name in _MAPPINGS:
            return dict[str, Any]
        return self._name(ast.unparse(node.value), scope, depth)

    def _literal(self, inner: Sequence[ast.expr]) -> Any:
        try:
            return Literal[tuple(ast.literal_eval(part) for part in inner)]  # type: ignore[valid-type]
        except ValueError:
            return Any

    def _name(self, name: str, scope: griffe.Object, depth: int) -> Any:
        last = name.rpartition(".")[2]
        if name in _SIMPLE:
            return _SIMPLE[name]
        if last in ("list", "List", "Sequence", "tuple", "Tuple"):
            return list[Any]
        if last in _MAPPINGS:
            return dict[str, Any]
        try:
            head, _, rest = name.partition(".")
            path = scope.resolve(head) + (f".{rest}" if rest else "")
            if path.startswith(_PLACES):
                return Any
            if path == _TENSOR:
                return NoReturn
            found = self._sources.find(path)
        except (Absent, Untold, griffe.NameResolutionError):
            return Any
        if isinstance(found, griffe.Attribute) and found.value is not None:
            try:
                alias = ast.parse(str(found.value), mode="eval").body
            except SyntaxError:
                return Any
            return self.read(alias, found.parent or scope, depth + 1)
        if found.name == "Tensor":
            return NoReturn
        if isinstance(found, griffe.Class) and not self._is_plain(found):
            return Annotated[dict[str, Any] | str, ClassWanted((found.path,))]
        return Any

    def _is_plain(self, found: griffe.Class) -> bool:
        """Tell whether values of a class are not stated by class paths (enumerations …)."""
        bases = {str(base).rpartition(".")[2] for base in found.bases}
        decorated = any("dataclass" in str(mark.value) for mark in found.decorators)
        plain = {"Enum", "StrEnum", "IntEnum", "TypedDict", "Protocol", "NamedTuple", "str"}
        return bool(bases & plain) or decorated or found.name in ("Path", "dtype")


def _built_later(result: Any, given: int) -> Any:
    """Return the type of a function that makes an object: the class of what it makes."""
    made = [path for mark in wanted_of(result) for path in mark.paths]
    if not made:
        return Any
    return Annotated[dict[str, Any] | str, ClassWanted(tuple(made), given)]


def members(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the type itself."""
    union = get_origin(annotation) in (Union, types.UnionType)
    return get_args(annotation) if union else (annotation,)


def wanted_of(annotation: Any) -> list[ClassWanted]:
    """Return the classes of which a type wants objects, not looking into lists."""
    marks = [m for part in members(annotation) for m in getattr(part, "__metadata__", ())]
    return [mark for mark in marks if isinstance(mark, ClassWanted)]


def _union(parts: Sequence[Any]) -> Any:
    """Return a union; no YAML value is a tensor, so tensors are left out."""
    kept = [part for part in parts if part is not NoReturn]
    return Any if Any in kept or not kept else Union[tuple(kept)]  # noqa: UP007


def _is_dots(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def _mark(node: ast.expr) -> Any:
    """Return a bound such as ``Ge(1)``."""
    if isinstance(node, ast.Call) and len(node.args) == 1:
        kind = ast.unparse(node.func).rpartition(".")[2]
        if kind in ("Ge", "Gt", "Le", "Lt"):
            return getattr(annotated_types, kind)(ast.literal_eval(node.args[0]))
    return None
