"""The page as a Hugging Face Space runs it."""

import ast
import re
import shutil
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from gradio_client import Client, handle_file

from tests.endpoints.calls import DOG, ROOT, sample
from tests.helpers.page_server import free_port, running_page

pytestmark = pytest.mark.page


@pytest.fixture
def checkout(tmp_path) -> Path:
    """The files that are under version control, as a Space gets them, all read-only."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("needs the repository's git checkout")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    copy = tmp_path / "space"
    for name in filter(None, names.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy / name)
    everything = [copy, *copy.rglob("*")]
    for path in everything:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield copy
    for path in everything:
        path.chmod(0o755 if path.is_dir() else 0o644)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file of a tree but Python's caches, which a user who may not write does without."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


def test_page_runs_as_a_space(checkout, no_downloads, tmp_path):
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    before, port = contents(checkout), free_port()
    environment = {"HOME": str(home), "TMPDIR": str(temporary), "GRADIO_SERVER_NAME": "0.0.0.0"}
    with running_page(env=environment | {"GRADIO_SERVER_PORT": str(port)}, root=checkout) as page:
        client = Client(page.url, download_files=tmp_path / "downloads", verbose=False)
        _, result = client.predict(handle_file(sample(DOG)), api_name="/segment")
        with socket.create_connection((outward_address(), port), timeout=5):
            pass  # a Space is reached from outside
        uploads = [path.name for path in temporary.rglob("*") if path.name == sample(DOG).name]
    assert result["classes"][0]["name"] == "dog"
    assert contents(checkout) == before
    assert uploads, "the photograph was there"
    assert list(temporary.rglob("*.jpg")) == [], "and went with the page"


def outward_address() -> str:
    """An address of this machine that is not the loopback's, where it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.2"


def test_page_listens_on_loopback_alone(page):
    port = int(page.url.rsplit(":", 1)[1])
    if outward_address().startswith("127."):
        pytest.skip("this machine has no other address")
    with pytest.raises(OSError), socket.create_connection((outward_address(), port), timeout=5):
        pass


def test_requirements_name_everything_that_is_imported():
    """A Space installs requirements.txt and nothing else."""
    named = {
        re.match(r"[\w.-]+", line).group().lower()
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if line and not line.startswith("#")
    }
    distributions = metadata.packages_distributions()
    ours, part_of_gradio = {"segcore", "demo"}, {"gradio_client", "markupsafe"}
    optional = {"spaces", "openvino", "nncf", "ray", "tflite", "onnx", "onnxruntime", "onnxscript"}
    known = {*sys.stdlib_module_names, *ours, *optional, *part_of_gradio}
    for module in sorted(imported_modules() - known):
        owners = {each.lower().replace("_", "-") for each in distributions[module]}
        assert owners & named, f"{module} is imported, but {' or '.join(owners)} is not in requirements.txt"


def imported_modules() -> set[str]:
    """The top-level names of all that segcore and demo import."""
    modules = set()
    for file in [*ROOT.glob("segcore/**/*.py"), *ROOT.glob("demo/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {each.name.split(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules.add(node.module.split(".")[0])
    return modules
