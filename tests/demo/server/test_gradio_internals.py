"""What the page uses of Gradio beyond its documentation is checked at start, and used in one module alone."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import gradio as gr
import pytest
from gradio.queueing import Queue
from gradio.state_holder import StateHolder

from demo import app
from demo.server import gradio_internals
from demo.settings import Settings

ROOT = Path(__file__).parents[3]
ALLOWED = {"_asdict", "_fields", "_replace"}  # of named tuples
OWN = {"self", "cls"}
DOCUMENTED_PRIVATE = {"os._exit", "super()._get", "super()._put"}  # by Python: asyncio's queues are to be extended so
DOCUMENTED = {"gradio", "gradio.themes"}


def test_the_installed_gradio_has_everything():
    gradio_internals.check()


def test_the_version_is_the_one_of_the_requirements():
    assert gradio_internals.EXPECTED in (ROOT / "requirements.txt").read_text(encoding="utf-8").split()


@pytest.mark.parametrize("kind, name", [(StateHolder, "delete_all_expired_state"), (Queue, "get_events")])
def test_a_method_that_is_gone_ends_the_start_with_a_sentence(kind, name, monkeypatch, tmp_path, capsys):
    monkeypatch.delattr(kind, name)
    assert app.serve(Settings(), tmp_path, tmp_path) != 0
    said = capsys.readouterr().err
    assert f"{kind.__name__}.{name} is gone" in said and "gradio~=6.31.0" in said and "Traceback" not in said


def test_an_attribute_of_objects_that_is_gone_is_named(monkeypatch):
    def without_sleep(self):
        self.event_ids_to_events = {}

    monkeypatch.setattr(Queue, "__init__", without_sleep)
    with pytest.raises(gradio_internals.IncompatibleGradioError, match=r"Queue\.\w+ is gone"):
        gradio_internals.check()


def test_a_parameter_that_is_gone_is_named(monkeypatch):
    monkeypatch.setattr(gr.Blocks, "launch", lambda self, app_kwargs=None: None)
    with pytest.raises(gradio_internals.IncompatibleGradioError, match="parameter _frontend of .*Blocks.launch"):
        gradio_internals.check()


@pytest.mark.slow
def test_a_name_that_cannot_be_imported_ends_the_start_with_a_sentence():
    program = (
        "import sys, pathlib, gradio.state_holder; del gradio.state_holder.StateHolder\n"
        "from demo import app; from demo.settings import Settings\n"
        "sys.exit(app.serve(Settings(), pathlib.Path(), pathlib.Path()))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode != 0
    assert re.search(r"StateHolder.* is gone .*gradio~=6\.31\.0", done.stderr) and "Traceback" not in done.stderr


def uses_of_internals(source: str) -> list[str]:
    """The uses of private names of other objects, and imports of undocumented modules of Gradio, in a module."""
    found = []
    for node in ast.walk(ast.parse(source)):
        used = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        if used and is_private(node.attr) and ast.unparse(node.value) not in OWN and used not in DOCUMENTED_PRIVATE:
            found.append(used)
        elif isinstance(node, ast.Attribute) and ast.unparse(node).startswith(("gr.utils.", "gr.blocks.")):
            found.append(ast.unparse(node))
        elif isinstance(node, ast.keyword) and node.arg and is_private(node.arg):
            found.append(f"{node.arg}=")
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
            packages = ("gradio", "gradio_client")
            found += [each for each in names if each.split(".")[0] in packages and each not in DOCUMENTED]
    return found


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in ALLOWED


@pytest.mark.slow
def test_no_other_module_uses_what_gradio_does_not_document():
    distinctive = {name for kind in (gr.Blocks, Queue) for name in gradio_internals._USED_NAMES[kind].split()}
    distinctive -= {"app", "blocks"}
    for path in sorted((ROOT / "demo").rglob("*.py")):
        if path.name not in ("gradio_internals.py", "checked_blocks.py"):
            source = path.read_text(encoding="utf-8")
            attributes = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
            assert not (attributes & distinctive), path
            assert not uses_of_internals(source), path


@pytest.mark.parametrize(
    "source",
    ["from gradio.queueing import Queue", "import gradio.utils", "blocks._queue.x", "f(_frontend=1)", "gr.utils.f()"],
)
def test_such_uses_are_found(source):
    assert uses_of_internals(source)
