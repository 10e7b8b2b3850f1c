"""Writes what docs/configuration.md and editors know of the YAML language, from its one source.

    python docs/make_reference.py

fills in the page's tables of keys, and writes the JSON schemas beside it. The tables stand between
two comments each; the rest of the page is written by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark.planning.language import FILE_KINDS
from contract.language import json_schema

HERE = Path(__file__).parent
PAGE, SCHEMAS = HERE / "configuration.md", HERE / "schemas"
TABLE = re.compile(r"(?<=<!-- keys of )(\w+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)
BOUNDS = {
    "minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most",
    "exclusiveMaximum": "less than",
}  # fmt: skip
PLAIN = {
    "integer": "whole number", "number": "number", "string": "text", "boolean": "true or false",
    "null": "null", "object": "mapping", "array": "list",
}  # fmt: skip


def schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each kind of file."""
    return {kind: json_schema(described, kind) for kind, described in FILE_KINDS.items()}


def rows(schema: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return each key of a kind of file, its values, what it is unless given, and its meaning."""
    return list(_rows(schema, schema, ""))


def _rows(
    schema: dict[str, Any], whole: dict[str, Any], above: str
) -> Iterator[tuple[str, str, str, str]]:
    needed = next((part["required"] for part in schema.get("anyOf", []) if "extends" not in
                   part["required"]), schema.get("required", []))  # fmt: skip
    for name, key in schema["properties"].items():
        unless = "needed" if name in needed else _value(key.get("default"))
        meaning = key["description"].replace("``", "`")
        yield f"{above}{name}", in_words(key), unless, meaning
        for part in (key, *key.get("anyOf", [])):
            if "$ref" in part:
                below = whole["$defs"][part["$ref"].rpartition("/")[2]]
                yield from _rows(below, whole, f"{above}{name}.")


def in_words(key: dict[str, Any]) -> str:
    """Return in words which values a part of a schema takes."""
    if "anyOf" in key:
        parts = list(dict.fromkeys(map(in_words, key["anyOf"])))
        return ("; or " if any("," in part for part in parts) else " or ").join(parts)
    if "$ref" in key:
        return "mapping"
    if "enum" in key:
        return ", ".join(f"`{value}`" for value in key["enum"])
    if "prefixItems" in key:
        parts = [in_words(part) for part in key["prefixItems"]]
        return f"list of {len(parts)}: {' and '.join(dict.fromkeys(parts))}"
    if "items" in key:
        return f"list of: {in_words(key['items'])}"
    if "pattern" in key:
        return "name"
    bounds = [f"{words} {key[bound]}" for bound, words in BOUNDS.items() if bound in key]
    return ", ".join([PLAIN[key["type"]], *bounds])


def _value(default: object) -> str:
    empty = default in (None, "", [], {}) or isinstance(default, dict)
    return "" if empty and default is not False else f"`{json.dumps(default)}`"


def table(kind: str) -> str:
    """Return the table of a kind's keys in Markdown."""
    lines = ["| key | values | unless given | meaning |", "|---|---|---|---|"]
    for name, values, unless, meaning in rows(schemas()[kind]):
        lines.append(f"| `{name}` | {values} | {unless} | {meaning} |")
    return "\n".join(lines) + "\n"


def filled(page: str) -> str:
    """Return the page with its tables as the language is now."""
    return TABLE.sub(lambda found: f"{found[1]}{found[2]}{table(found[1])}", page)


def main() -> None:
    """Write the page and the schemas."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    SCHEMAS.mkdir(exist_ok=True)
    for kind, schema in schemas().items():
        text = json.dumps(schema, indent=2, ensure_ascii=False)
        (SCHEMAS / f"{kind}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
