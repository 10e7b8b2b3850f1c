"""What classes take, told from their source: nothing is imported, no code of a user's runs.

Importing Lightning and the libraries of networks takes many seconds; reading the files that
define the named classes takes hundredths. Griffe parses them; this module follows names from file
to file. What cannot be told so (a compiled class, one made at run time) is :class:`Untold`, and
the cell itself then finds out.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import griffe

from benchmark.planning.source_files import Absent, Untold, module_file, visit, with_methods
from contract.suggestions import did_you_mean

DEEPEST = 30
"""Names that stand for names that stand for names: longer chains are not followed."""


@dataclass(frozen=True)
class Argument:
    """One argument of a class.

    Attributes:
        name: its name.
        annotation: its type as the source writes it, or None.
        required: whether it has no default.
        scope: the module or class in which the annotation is to be read.
    """

    name: str
    annotation: str | None
    required: bool
    scope: griffe.Object = field(repr=False)


@dataclass(frozen=True)
class CallSignature:
    """What a class or function takes.

    Attributes:
        path: where it is defined.
        arguments: by name, in order, without ``self``.
        open: whether it takes others, too.
        mentioned: names among those others that its source speaks of.
        ancestors: itself and its base classes by path; None where not all are known.
    """

    path: str
    arguments: dict[str, Argument]
    open: bool = False
    ancestors: frozenset[str] | None = None
    mentioned: frozenset[str] = frozenset()


class Sources:
    """Python's modules as source files.

    Args:
        folders: a user's own folders, which come after installed packages.
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self._folders = tuple(map(str, folders))

    def find(self, path: str, depth: int = 0) -> griffe.Object:
        """Return the class, function or other definition behind a dotted path.

        Raises:
            Absent: if the path leads nowhere.
            Untold: if the source does not tell.
        """
        parts = path.split(".")
        if len(parts) < 2 or not all(part.isidentifier() for part in parts):
            raise Absent(repr(path), "a class path: module.Class")
        if depth > DEEPEST:
            raise Untold(path)
        for cut in range(len(parts) - 1, 0, -1):
            file = module_file(".".join(parts[:cut]), self._folders)
            if file is not None:
                return self._member(".".join(parts[:cut]), file, parts[cut:], depth)
        known = [file.stem for folder in self._folders for file in Path(folder).glob("*.py")]
        found = f"the class path {path!r}, of which there is no module {parts[0]!r}"
        raise Absent(found, "a module beside the YAML file, or an installed one",
                     did_you_mean(parts[0], [*known, "torch", "monai", "lightning_modules",
                                             "segmentation_models_pytorch"]))  # fmt: skip

    def _member(self, module: str, file: str, names: Sequence[str], depth: int) -> griffe.Object:
        if not file.endswith(".py"):
            raise Untold(module)
        found = self._named(module, file, names[0], depth)
        for name in names[1:]:
            found = with_methods(found)
            if name not in found.members or found.members[name].is_alias:
                raise Untold(f"{found.path}.{name}")
            found = found.members[name]  # type: ignore[assignment]
        return found

    def _named(self, module: str, file: str, name: str, depth: int) -> griffe.Object:
        tree = visit(module, file)
        member = tree.members.get(name)
        if member is None:
            return self._starred(module, tree, name, depth)
        if isinstance(member, griffe.Alias):
            return self.find(member.target_path, depth + 1)
        if isinstance(member, griffe.Attribute) and isinstance(member.value, griffe.Expr):
            target = member.value.canonical_path
            plain = isinstance(member.value, griffe.ExprName | griffe.ExprAttribute)
            if plain and target not in (member.path, name):
                return self.find(target, depth + 1)
        return member

    def _starred(self, module: str, tree: griffe.Module, name: str, depth: int) -> griffe.Object:
        """Look for a name among ``from … import *``, and for a sub-module of that name."""
        known = []
        dynamic = "__getattr__" in tree.members
        for key, member in tree.members.items():
            if isinstance(member, griffe.Alias) and member.wildcard:
                try:
                    return self.find(f"{member.wildcard}.{name}", depth + 1)
                except Absent:
                    continue
                except Untold:
                    dynamic = True
            elif not key.startswith("_"):
                known.append(key)
        if dynamic:
            raise Untold(f"{module}.{name}")
        if module_file(f"{module}.{name}", self._folders):
            raise Absent(f"the module {module}.{name}", "a class in it")
        beside = [path.stem for path in tree.filepath.parent.glob("*.py")]  # type: ignore[union-attr]
        known += beside if tree.is_init_module else []
        found = f"the class path '{module}.{name}', and no {name!r} in {module}"
        raise Absent(found, "a class of that module", did_you_mean(name, known))

    def signature(self, path: str) -> CallSignature:
        """Return what the class or function behind a path takes.

        Raises:
            Absent: if the path leads to no class or function.
            Untold: if the source does not tell.
        """
        found = self.find(path)
        if isinstance(found, griffe.Function):
            return self._of_function(found)
        if isinstance(found, griffe.Class):
            return self._of_class(found)
        if isinstance(found, griffe.Module):
            raise Absent(f"the module {found.path}", "a class in it")
        raise Untold(path)

    def _of_function(self, found: griffe.Function, depth: int = 0) -> CallSignature:
        """Return what a function takes; where it hands its ``**`` argument on, with the rest."""
        arguments, rest = _arguments(found)
        if rest is None:
            return CallSignature(found.path, arguments)
        open_to_all = CallSignature(found.path, arguments, True, mentioned=_strings(found))
        if _swallows(found, rest):
            return replace(open_to_all, open=False)
        handed = _handed_on(found, rest)
        if handed is None or depth > DEEPEST:
            return open_to_all
        try:
            target = self.find(found.resolve(ast.unparse(handed.func)))
            if isinstance(target, griffe.Function):
                further = self._of_function(target, depth + 1)
            elif isinstance(target, griffe.Class):
                further = self._of_class(target)
            else:
                return open_to_all
        except (Absent, Untold, griffe.NameResolutionError):
            return open_to_all
        arguments |= _left_open(further.arguments, handed, arguments)
        spoken = open_to_all.mentioned | further.mentioned
        return CallSignature(found.path, arguments, further.open, mentioned=spoken)

    def _of_class(self, found: griffe.Class) -> CallSignature:
        line, whole = self._line(found)
        ancestors = frozenset(one.path for one in line) if whole else None
        if any("dataclass" in str(mark.value) for mark in found.decorators):
            return CallSignature(found.path, {}, True, ancestors)
        arguments: dict[str, Argument] = {}
        handed: ast.Call | None = None
        for one in line:
            init = one.members.get("__init__")
            if not isinstance(init, griffe.Function):
                continue
            own, rest = _arguments(init)
            arguments |= _left_open(own, handed, arguments)
            if rest is None:
                return CallSignature(found.path, arguments, False, ancestors)
            handed = _handed_on(init, rest)
            if handed is None or ast.unparse(handed.func) != "super().__init__":
                further = self._of_function(init)
                arguments = {**arguments, **further.arguments}
                spoken = further.mentioned
                return CallSignature(found.path, arguments, further.open, ancestors, spoken)
        return CallSignature(found.path, arguments, not whole, ancestors)

    def _line(self, found: griffe.Class) -> tuple[list[griffe.Class], bool]:
        """Return a class and its base classes, and whether all of them could be found."""
        line, whole = [found], True
        for base in found.bases:
            path = base.canonical_path if isinstance(base, griffe.Expr) else str(base)
            if path == "object" or path.startswith(("typing.", "abc.", "builtins.")):
                continue
            try:
                above = self.find(path)
            except (Absent, Untold):
                whole = False
                continue
            if not isinstance(above, griffe.Class):
                whole = False
                continue
            further, known = self._line(above)
            line += [one for one in further if one not in line]
            whole = whole and known
        return line, whole


def unmet_imports(file: Path, folders: Sequence[Path]) -> list[str]:
    """Return the modules that a user's own file imports at its top and that are not installed."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    asked = []
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            asked += [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom) and not statement.level and statement.module:
            asked.append(statement.module)
    tops = dict.fromkeys(name.partition(".")[0] for name in asked)
    return [top for top in tops if module_file(top, tuple(map(str, folders))) is None]


def _arguments(function: griffe.Function) -> tuple[dict[str, Argument], str | None]:
    """Return a function's named arguments and the name of its ``**`` argument, if it has one."""
    found, rest = {}, None
    for parameter in function.parameters:
        if parameter.kind is griffe.ParameterKind.var_keyword:
            rest = parameter.name
        elif parameter.kind is not griffe.ParameterKind.var_positional:
            text = None if parameter.annotation is None else str(parameter.annotation)
            required = parameter.default is None
            if text is not None and not required and str(parameter.default) == "None":
                text = f"{text} | None"  # some sources leave that out
            found[parameter.name] = Argument(parameter.name, text, required, function)
    if function.parent is not None and function.parent.is_class:
        found.pop(next(iter(found), ""), None)  # self
    return found, rest


def _source(function: griffe.Function) -> ast.AST | None:
    """Return a function's syntax tree, or None where its file does not show it."""
    if function.lineno is None or function.endlineno is None:
        return None
    lines = Path(str(function.filepath)).read_text(encoding="utf-8").splitlines()
    text = "\n".join(lines[function.lineno - 1 : function.endlineno])
    try:
        return ast.parse(textwrap.dedent(text))
    except SyntaxError:
        return None


def _handed_on(function: griffe.Function, rest: str) -> ast.Call | None:
    """Return the one call to which a function hands its ``**`` argument; None for other uses."""
    tree = _source(function)
    if tree is None:
        return None
    uses = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == rest]
    calls = [
        call
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and any(k.arg is None and ast.unparse(k.value) == rest for k in call.keywords)
    ]
    if not len(uses) == len(calls) == 1 or any(isinstance(a, ast.Starred) for a in calls[0].args):
        return None
    return calls[0]


def _left_open(
    arguments: dict[str, Argument], call: ast.Call | None, known: Container[str]
) -> dict[str, Argument]:
    """Return the arguments of a function that a call of it does not state; no known ones."""
    first = len(call.args) if call is not None else 0
    stated = {keyword.arg for keyword in call.keywords} if call is not None else set()
    left = list(arguments.items())[first:]
    return {name: one for name, one in left if name not in stated and name not in known}


def _swallows(function: griffe.Function, rest: str) -> bool:
    """Tell whether a function never looks at its ``**`` argument: what is in it has no effect."""
    tree = _source(function)
    return tree is not None and not any(
        isinstance(node, ast.Name) and node.id == rest for node in ast.walk(tree)
    )


def _strings(function: griffe.Function) -> frozenset[str]:
    """Return the texts in a function's source: keys that it looks for in its ``**`` argument."""
    marks = [ast.parse(str(mark.value)) for mark in function.decorators]
    trees = [tree for tree in (_source(function), *marks) if tree is not None]
    return frozenset(
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
