"""The YAML language from its one source: dataclasses whose fields are the keys.

A dataclass states each key's type, range (``Annotated[int, Ge(1)]``) and default, its docstring
what the key means. From it come the check of a file, its message, and the JSON schema that
editors use. The check itself is pydantic's; what is said of it is ours.
"""

from __future__ import annotations

import copy
import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import docstring_parser
from annotated_types import Ge
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from contract.errors import UserError
from contract.names import PATTERN, RULE, in_short
from contract.suggestions import did_you_mean
from contract.words import LABEL_PATTERN, LABEL_RULE

Place = tuple[int | str, ...]
"""The keys and indices that lead to a value."""
Count = Annotated[int, Ge(1)]
Natural = Annotated[int, Ge(0)]
Name = Annotated[str, Field(pattern=PATTERN)]
Strict = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

_WORDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "dict_type": "a mapping of keys to values",
    "mapping_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "list_type": "a list",
    "tuple_type": "a list",
    "none_required": "null",
    "finite_number": "a finite number",
}
_RULES = {PATTERN: RULE, LABEL_PATTERN: LABEL_RULE}


def _number(value: object) -> object:
    """Read ``1e-4`` as a number, which YAML 1.1 takes for text."""
    if isinstance(value, str) and value[:1] in "+-.0123456789":
        try:
            return float(value)
        except ValueError:
            return value
    return value


Number = Annotated[float, BeforeValidator(_number)]


@cache
def documented_keys(described: type) -> dict[str, str]:
    """Return what each key of a dataclass means, from its docstring.

    Raises:
        ValueError: if a field is not documented, or a documented one does not exist.
    """
    told: dict[str, str] = {}
    for one in reversed(described.__mro__):
        if is_dataclass(one):
            parsed = docstring_parser.parse(
                one.__doc__ or "", docstring_parser.DocstringStyle.GOOGLE
            )
            told |= {p.arg_name: " ".join((p.description or "").split()) for p in parsed.params}
    names = [field.name for field in fields(described)]
    if set(told) != set(names):
        raise ValueError(f"{described.__name__}: documented {set(told) ^ set(names)} wrongly")
    return {name: told[name] for name in names}


@cache
def model_of(described: type) -> type[BaseModel]:
    """Return the pydantic model of a dataclass, without unknown keys or silent conversions."""
    hints, told = get_type_hints(described, include_extras=True), documented_keys(described)
    contents: dict[str, Any] = {}
    for field in fields(described):
        default, factory = field.default, field.default_factory
        if default is MISSING and factory is not MISSING:
            default = factory()
        stated = ... if default is MISSING else default
        contents[field.name] = (
            strict(hints[field.name]),
            Field(stated, description=told[field.name]),
        )
    return create_model(described.__name__, __config__=Strict, **contents)


def strict(annotation: Any) -> Any:
    """Return a type as pydantic is to check it: dataclasses without unknown keys, ``1e-4``."""
    if annotation is float:
        return Number
    if isinstance(annotation, type) and is_dataclass(annotation):
        return model_of(annotation)
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated and inner[0] is float:  # bounds before, so that schemas state them
        return Annotated[(float, *inner[1:], BeforeValidator(_number))]  # type: ignore[return-value]
    if origin is Annotated:
        return Annotated[(strict(inner[0]), *inner[1:])]  # type: ignore[return-value]
    if origin in (Union, types.UnionType):
        return Union[tuple(strict(part) for part in inner)]  # noqa: UP007
    if origin is None or origin is Literal:
        return annotation
    if origin is tuple:
        return tuple[tuple(part if part is ... else strict(part) for part in inner)]  # type: ignore[misc]
    if issubclass(origin, Mapping):
        return dict[inner[0], strict(inner[1])]  # type: ignore[misc,valid-type]
    if issubclass(origin, Sequence):
        return list[strict(inner[0])]  # type: ignore[misc,valid-type]
    return annotation


def check_settings(
    described: type, settings: Mapping[str, Any], file: object, whole: bool = True
) -> None:
    """Refuse settings that the dataclass does not describe.

    Args:
        described: the dataclass.
        settings: what the file states.
        file: the file, or the option, for the message.
        whole: whether keys without a default must be there.

    Raises:
        UserError: naming file, key, what was found and what is expected.
    """
    fault = first_errors(TypeAdapter(model_of(described)), settings, whole)
    if fault is not None:
        raise fault_at(file, model_of(described), settings, fault)


def first_errors(
    adapter: TypeAdapter[Any], value: object, whole: bool = True
) -> list[Mapping[str, Any]] | None:
    """Return pydantic's errors at the place that is told first: unknown keys come before all.

    Args:
        adapter: checks the value.
        value: plain values as YAML holds them.
        whole: whether missing keys are errors.
    """
    try:
        adapter.validate_json(json.dumps(value))
    except ValidationError as error:
        errors: list[dict[str, Any]] = [
            dict(one) for one in error.errors(include_url=False, include_context=True)
        ]
        for one in errors:
            one["place"] = _place(one["loc"], value)
        if not whole:
            errors = [o for o in errors if o["type"] != "missing" or isinstance(o["loc"][-1], int)]
        # Of a union's members, the one that fits best fails deepest.
        errors.sort(key=lambda one: (one["type"] != "extra_forbidden", -len(one["place"])))
        if errors:
            return [one for one in errors if one["place"] == errors[0]["place"]]
    return None


def _place(loc: Sequence[int | str], value: Any) -> tuple[int | str, ...]:
    """Return the keys and indices of an error's place, without the members of a union."""
    place: list[int | str] = []
    for part in loc:
        listed = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if listed or (isinstance(value, dict) and part in value):
            value = value[part]  # type: ignore[index]
            place.append(part)
    return tuple(place)


def fault_at(
    file: object, model: type[BaseModel] | None, settings: Any, errors: Sequence[Mapping[str, Any]]
) -> UserError:
    """Return the message for errors at one place.

    Args:
        file: the file or option.
        model: the model that was checked, whose keys are suggested.
        settings: what was checked.
        errors: pydantic's errors there.
    """
    first = errors[0]
    place: tuple[int | str, ...] = first["place"]
    if first["type"] in ("extra_forbidden", "missing") and isinstance(first["loc"][-1], str):
        missing = first["type"] == "missing"
        key = str(first["loc"][-1])
        at = place if missing else place[:-1]
        where = f"{file}: {dotted(at)}" if at else str(file)
        if not missing:
            return unknown_key(where, key, _keys_at(model, at))
        told = "" if at or model is None else model.model_fields[key].description
        return UserError(where, f"no key {key!r}", told or "it")
    if first["loc"][-1] == "[key]":
        where, expected = f"{file}: {dotted(place[:-1])}", expectation(errors)
        known = expected.removeprefix("one of ").split(", ")
        todo = did_you_mean(place[-1], known)
        return UserError(where, f"an unknown key {place[-1]!r}", expected, todo)
    found = in_short(value_at(settings, place))
    expected = _entries_expected(model, settings, place) or expectation(errors)
    return UserError(f"{file}: {dotted(place)}" if place else str(file), found, expected)


def _entries_expected(
    model: type[BaseModel] | None, settings: Any, place: tuple[int | str, ...]
) -> str:
    """Return what the entries of a list must be, where a single value does not serve as one."""
    value = value_at(settings, place)
    if model is None or not place or not isinstance(value, str | int | float):
        return ""
    listed = copy.deepcopy(settings)
    value_at(listed, place[:-1])[place[-1]] = [value]
    errors = first_errors(TypeAdapter(model), listed) or []
    if not errors or errors[0]["place"] != (*place, 0):
        return ""
    return f"a list, each entry {expectation(errors)}"


def unknown_key(where: object, key: str, known: Sequence[str], todo: str = "") -> UserError:
    """Return the message for a key that does not exist."""
    expected = f"one of {', '.join(known)}" if known else "no keys here"
    return UserError(where, f"an unknown key {key!r}", expected, todo or did_you_mean(key, known))


def dotted(place: Sequence[int | str]) -> str:
    """Return a place as people write it: ``model.init_args.widths[2]``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def value_at(settings: Any, place: Sequence[int | str]) -> Any:
    """Return the value at a place."""
    for part in place:
        settings = settings[part]
    return settings


def expectation(errors: Sequence[Mapping[str, Any]]) -> str:
    """Return in words what would be right where errors were found."""
    choices = [e["ctx"]["expected"] for e in errors if e["type"] == "literal_error"]
    others = [e for e in errors if e["type"] != "literal_error"]
    words = list(dict.fromkeys(map(_expected, others)))
    if choices:
        known = dict.fromkeys(", ".join(choices).replace(" or ", ", ").replace("'", "").split(", "))
        words.insert(0, f"one of {', '.join(known)}")
    return " or ".join(words)


def _expected(error: Mapping[str, Any]) -> str:
    kind, about, given = error["type"], error.get("ctx") or {}, error.get("input")
    if kind in ("list_type", "tuple_type") and isinstance(given, str | int | float):
        return f"a list, such as [{given}]"
    bounds = {
        "greater_than_equal": ("at least", "ge"), "greater_than": ("more than", "gt"),
        "less_than_equal": ("at most", "le"), "less_than": ("less than", "lt"),
    }  # fmt: skip
    if kind in bounds:
        words, bound = bounds[kind]
        return f"{words} {about[bound]}"
    if kind == "too_short":
        return f"a list of {about['min_length']} or more entries"
    if kind == "too_long":
        return f"a list of at most {about['max_length']} entries"
    if kind == "missing":
        return "a list of more entries"
    if kind == "string_pattern_mismatch" and about.get("pattern") in _RULES:
        return _RULES[str(about["pattern"])]
    if kind == "value_error":
        return str(about.get("error", error["msg"]))
    return _WORDS.get(kind, str(error["msg"]).removeprefix("Input should be "))


def _keys_at(model: type[BaseModel] | None, place: Sequence[int | str]) -> list[str]:
    """Return the keys that a model has at a place."""
    for part in place:
        if model is None or part not in model.model_fields:
            return []
        model = _nested(model.model_fields[str(part)].annotation)
    return [] if model is None else list(model.model_fields)


def _nested(annotation: Any) -> type[BaseModel] | None:
    candidates = (annotation, *get_args(annotation))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def json_schema(described: type, title: str) -> dict[str, Any]:
    """Return the JSON schema of a dataclass, as editors read it.

    A file that extends another one may leave out what it needs.
    """
    schema = model_of(described).model_json_schema(schema_generator=_WithoutTitles)
    if "extends" in schema["properties"]:
        needed = schema.pop("required", [])
        schema["anyOf"] = [{"required": ["extends"]}, {"required": needed}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}


class _WithoutTitles(GenerateJsonSchema):
    """Pydantic's schemas without a title for each key, which says the key again."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Tell that a key needs no title."""
        return False

    def generate(self, schema: Any, mode: JsonSchemaMode = "validation") -> dict[str, Any]:
        """Return a schema without the names of this project's classes."""
        made = super().generate(schema, mode)
        for part in (made, *made.get("$defs", {}).values()):
            part.pop("title", None)
        return made


__all__ = [
    "Count",
    "Name",
    "Natural",
    "Number",
    "Place",
    "check_settings",
    "documented_keys",
    "dotted",
    "expectation",
    "fault_at",
    "first_errors",
    "json_schema",
    "model_of",
    "strict",
    "unknown_key",
    "value_at",
]  # fmt: skip
