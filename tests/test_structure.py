"""The folders show the way of the data: imports go down the list, and there is no circle."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = {
    "segcore": (
        "cli training report evaluation truth inference models metrics imaging files categories classes errors".split()
    ),
    "demo": "app page endpoints tabs markup answers server texts settings waiting view".split(),
}
WITHOUT_TORCH = "segcore.errors segcore.categories segcore.files segcore.imaging segcore.metrics segcore.truth".split()


def modules(package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imported(module: str, path: Path, known: set[str]) -> Iterator[str]:
    """All modules of ours that one imports, anywhere in it, for types alone included."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in known)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for name in node.names:
                target = f"{source}.{name.name}" if f"{source}.{name.name}" in known else source
                if target in known and target != module:
                    yield target


@pytest.mark.parametrize("package", LAYERS)
def test_imports_go_down_the_list_and_never_in_a_circle(package):
    known = dict(modules(package))
    graph = {module: set(imported(module, path, set(known))) for module, path in known.items()}
    order = LAYERS[package]

    def layer(module: str) -> int:
        return order.index(module.split(".")[1])

    upwards = [
        f"{module} imports {other}"
        for module, others in graph.items()
        for other in others
        if "." in module and "." in other and "__main__" not in module and layer(other) < layer(module)
    ]
    assert upwards == []
    del graph[package]  # the public face, which knows where everything is
    TopologicalSorter({module: others - {package} for module, others in graph.items()}).prepare()


def test_segcore_knows_nothing_of_the_page():
    known = dict([*modules("segcore"), *modules("demo")])
    wrong = [
        f"{module} imports {other}"
        for module, path in modules("segcore")
        for other in imported(module, path, set(known))
        if other.startswith("demo")
    ]
    assert wrong == []


def test_what_needs_no_torch_does_not_import_it():
    names = [name for name, _ in modules("segcore") if name.startswith(tuple(WITHOUT_TORCH))]
    program = f"import sys, {', '.join([*names, 'segcore.models.catalogue'])}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


@pytest.mark.slow
def test_the_page_is_laid_out_without_torch():
    """It takes seconds to import, in which nobody sees anything."""
    program = "import sys, demo.app, demo.page; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def test_the_files_that_contributing_names_are_there():
    named = re.findall(
        r"`([\w/.]+\.(?:py|js|md|toml)|[\w/]+/)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    )
    gone = [each for each in named if not any((root / each).exists() for root in (ROOT, ROOT / "segcore"))]
    assert len(named) > 40 and gone == []
