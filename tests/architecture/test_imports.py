"""Who may import whom: the rules of the architecture, checked in the source of every module."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "backmap"

ANYONE_MAY_IMPORT = {"errors", "limits", "options", "usual_settings"}
ALLOWED: dict[str, set[str]] = {
    "chemistry": set(),
    "errors": set(),
    "limits": set(),
    "options": set(),
    "usual_settings": set(),
    "ops": {"_native"},
    "io": {"chemistry"},
    "physics": {"ops", "chemistry"},
    "models": {"ops", "chemistry", "physics"},
    "cg": {"models", "ops", "chemistry"},
    "datasets": {"chemistry", "ops", "io"},
    "training": {"cg", "models", "datasets", "chemistry", "ops", "physics"},
    "inference": {"models", "chemistry", "ops", "physics"},
    "evaluation": {"ops", "chemistry", "physics", "io", "postprocessing"},
    "postprocessing": {"chemistry", "io", "physics"},
    "export": {"cg", "models", "inference", "chemistry"},
    "cluster": set(),
    "runs": {"cg", "cluster", "inference", "models", "io", "chemistry", "postprocessing"},
    "report": {"evaluation"},
}
"""Folders of the package, and the other folders each may import. The command line and the modules at the top,
which put the parts together, may import any; nobody but `python -m` may import the command line."""

REQUIRED_PACKAGES = {"numpy", "scipy", "torch", "mdtraj", "gemmi", "safetensors", "tqdm", "psutil"}
NUMPY_ALONE = {"chemistry"}
"""On import; inside a function they may read the objects of another package."""
FREE_OF_TORCH = {"chemistry", "io"}

MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def part_of(module: Path) -> str:
    """Name the folder of the package a module lies in, or the module itself at the top."""
    return module.parts[0] if len(module.parts) > 1 else module.stem


def imported_names(module: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """Give absolute names of everything a module imports, inside functions too."""
    tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
    nodes = _run_on_import(tree) if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _run_on_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Go through what runs when a module is imported: neither functions nor what only type checkers see."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        yield node
        waiting += ast.iter_child_nodes(node)


def _absolute(module: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parents = ("backmap", *module.parts[:-1])
    base = parents[: len(parents) - node.level + 1]
    return ".".join((*base, *([node.module] if node.module else [])))


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_parts_import_only_what_they_may(module):
    part = part_of(module)
    for name in imported_names(module):
        words = name.split(".")
        if words[0] != "backmap" or len(words) < 2:
            continue
        assert words[1] != "cli" or part in ("cli", "__main__"), f"{module} imports the command line"
        if part in ALLOWED:
            may = ALLOWED[part] | ANYONE_MAY_IMPORT | {part}
            assert words[1] in may, f"{module} imports {name}; {part} may import {', '.join(sorted(may))}"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_optional_packages_are_imported_where_they_are_needed(module):
    for name in imported_names(module, top_level_only=True):
        package = name.split(".")[0]
        known = package in sys.stdlib_module_names or package in REQUIRED_PACKAGES | {"backmap"}
        assert known, f"{module} imports {package} at the top; import it inside the function that needs it"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_base_parts_stay_light(module):
    packages = {name.split(".")[0] for name in imported_names(module)} - set(sys.stdlib_module_names)
    if part_of(module) in NUMPY_ALONE:
        at_once = {name.split(".")[0] for name in imported_names(module, top_level_only=True)}
        assert at_once - set(sys.stdlib_module_names) <= {"numpy", "backmap"}
    if part_of(module) in FREE_OF_TORCH:
        assert "torch" not in packages
    if part_of(module) == "cli":
        heavy = {name.split(".")[0] for name in imported_names(module, top_level_only=True)}
        assert not heavy & {"torch", "mdtraj", "gemmi"}, f"{module} slows down the start of every command"


def test_every_part_has_a_rule():
    folders = {module.parts[0] for module in MODULES if len(module.parts) > 1}
    assert folders <= ALLOWED.keys() | {"cli"}
