"""What every column of the leaderboard's files means: a view of ``columns.yaml``."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from leaderboards.texts import grid


@cache
def _texts() -> dict[str, Any]:
    text = files("leaderboards").joinpath("columns.yaml").read_text("utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def file_names() -> tuple[str, ...]:
    """The files that are described, without their suffixes."""
    return tuple(_texts()["files"])


def described(file: str) -> dict[str, str]:
    """The meaning of a file's columns, by name.

    Args:
        file: one of ``file_names()``.
    """
    texts = _texts()
    own = texts["files"][file]
    keys = {name: texts["keys"][name] for name in own.get("keys", texts["keys"])}
    found: dict[str, str] = {**keys, **own["columns"]}
    if own.get("metrics") == "values":
        found |= texts["metrics"]
    if own.get("metrics") == "statistics":
        for metric in texts["metrics"]:
            for statistic, text in texts["statistics"].items():
                found[f"{metric}_{statistic}"] = f"Of `{metric}`: {text}"
    return found


def as_markdown() -> str:
    """Everything as a Markdown page."""
    texts = _texts()
    parts = [
        "# Columns",
        "What the files beside this one hold. An empty field is null: the value is undefined,"
        " and the text says when. Fractions lie in [0, 1]; nothing is in per cent.",
        "## Columns that several files share",
        _grid(texts["keys"]),
        "## Metrics of one case\n\nP is the predicted mask, R the reference, on R's own grid (long"
        " side at most 1024 pixels).",
        _grid(texts["metrics"]),
        "## Statistics of a metric\n\n`leaderboard.csv` has a column `<metric>_<statistic>` for"
        " every metric above.",
        _grid(texts["statistics"]),
    ]
    for name, file in texts["files"].items():
        suffix = "parquet" if name == "cases" else "csv"
        parts += [f"## {name}.{suffix}\n\n{file['about']}", _grid(file["columns"])]
    return "\n\n".join(parts) + "\n"


def _grid(texts: dict[str, str]) -> str:
    rows = ((f"`{name}`", text.replace("|", "\\|")) for name, text in texts.items())
    return grid(("column", "meaning"), rows)
