"""The house as its imports and names show it: rooms, one way between them, one meaning a name."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "contract": set(),
    "datamodules": {"contract"},
    "lightning_modules": {"contract"},
    "leaderboards": {"contract"},
    "benchmark": {"contract", "datamodules", "lightning_modules", "leaderboards"},
    "lungbench": {"contract", "datamodules", "lightning_modules", "leaderboards", "benchmark"},
}
"""The project's packages, and which others each may import."""

HEAVY = {"torch", "torchvision", "torchmetrics", "pytorch_lightning", "monai"}
SEVERAL_PLACES = {
    "add": "each module of benchmark.commands adds its own commands by it",
    "main": "what ``python -m`` runs",
}
"""Names that stand in several modules, and the one meaning that they have there."""


@cache
def modules() -> dict[str, ast.Module]:
    """Return the syntax tree of every module of the project's packages, by dotted name."""
    found = {}
    for path in sorted(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def for_type_checkers(node: ast.AST) -> bool:
    """Tell whether a part of a module is never run."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imported(tree: ast.AST, *, when_loaded: bool = False, ever: bool = False) -> Iterator[str]:
    """Yield the dotted names that a module imports, those of ``from`` with what they take.

    Args:
        tree: the module.
        when_loaded: leave out what functions import, and what type checkers alone read.
        ever: leave out only what type checkers alone read.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif (when_loaded or ever) and for_type_checkers(node):
            continue
        elif not (when_loaded and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            yield from imported(node, when_loaded=when_loaded, ever=ever)


def public_names(tree: ast.Module) -> Iterator[str]:
    """Yield what a module defines itself for others: functions, classes, constants, aliases."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_"))


def places_of_names() -> dict[str, list[str]]:
    """Return the modules that define each public name."""
    places = defaultdict(list)
    for module, tree in modules().items():
        for name in dict.fromkeys(public_names(tree)):
            places[name].append(module)
    return places


def test_every_package_is_walked():
    shipped = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert shipped <= set(MAY_IMPORT)
    assert len(modules()) > 150


def test_no_public_name_means_two_things():
    twice = {name: where for name, where in places_of_names().items() if len(where) > 1}
    assert {name: twice[name] for name in twice.keys() - SEVERAL_PLACES.keys()} == {}


def test_exceptions_are_still_needed():
    places = places_of_names()
    assert all(len(places[name]) > 1 for name in SEVERAL_PLACES)
    assert all(module.startswith("benchmark.commands.") for module in places["add"])


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package):
    upward = {
        f"{module} imports {target}"
        for module, tree in modules().items()
        if module.split(".")[0] == package
        for target in imported(tree)
        if target.split(".")[0] in MAY_IMPORT.keys() - MAY_IMPORT[package] - {package}
    }
    assert upward == set()


@pytest.mark.parametrize("package", ["leaderboards", "contract"])
def test_tables_and_contract_know_no_torch(package):
    found = {
        f"{module} imports {target}"
        for module, tree in modules().items()
        if module.split(".")[0] == package
        for target in imported(tree, ever=True)
        if target.split(".")[0] in HEAVY
    }
    assert found == set()


def test_no_modules_import_each_other_in_a_circle():
    known = modules()
    graph = {}
    for module, tree in known.items():
        targets = set(imported(tree, when_loaded=True))
        graph[module] = {t if t in known else t.rpartition(".")[0] for t in targets} & known.keys()
        graph[module].discard(module)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(reversed(error.args[1])))
