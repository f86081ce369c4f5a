"""The Dockerfile, checked without Docker: its commands run with stand-ins, and its health check on a page."""

import fnmatch
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from demo.settings import Settings
from tests.helpers.page_server import ROOT, free_port

FILE = ROOT / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Instructions and their arguments, with continued lines joined, in the file's order."""
    text = re.sub(r"^#.*\n", "", FILE.read_text(encoding="utf-8"), flags=re.M)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line]


def arguments(instruction: str) -> list[str]:
    return [rest for name, rest in instructions() if name == instruction]


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for line in arguments("ENV") for pair in shlex.split(line))


def copied() -> list[str]:
    return [source for line in arguments("COPY") for source in line.split()[:-1]]


def test_the_image_holds_what_the_page_needs_and_no_more():
    assert {"requirements.txt", "LICENSE", "NOTICE", "examples", "segcore", "demo"} == set(copied())
    assert all((ROOT / source).exists() for source in copied())
    everything, *rules = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")
    ]
    assert everything == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == set(copied())
    assert any(fnmatch.fnmatch("**/__pycache__", rule) for rule in rules)


def test_the_page_runs_as_a_user_who_cannot_change_it():
    names = [name for name, _ in instructions()]
    (user,) = arguments("USER")
    assert user.isdecimal() and int(user) > 0  # a number, so that Kubernetes can tell that it is not root
    assert names.index("USER") < names.index("CMD") and "USER" not in names[: names.index("RUN")]
    assert not any("chown" in line for line in arguments("COPY") + arguments("RUN"))
    assert any(f"useradd --uid {user} " in line for line in arguments("RUN"))


def test_the_page_listens_on_the_exposed_port_of_any_address():
    settings = Settings.read([], environment())
    assert settings.host == "0.0.0.0" and arguments("EXPOSE") == [str(settings.port)]
    (command,) = arguments("CMD")
    assert json.loads(command) == ["python", "demo/app.py"]


def test_python_is_the_one_of_the_space():
    version = re.search(r'^python_version: "(.+)"', (ROOT / "README.md").read_text(encoding="utf-8"), re.M).group(1)
    assert arguments("FROM") == [f"python:{version}-slim"]


def test_its_commands_install_the_builds_for_cpus_of_the_versions_that_are_required(tmp_path):
    """Each RUN is executed, with programs that only write down how they were called."""
    for name in ("pip", "useradd", "install"):
        stand_in = tmp_path / name
        stand_in.write_text(f'#!/bin/sh\necho "{name} $*" >> "{tmp_path}/called"\n')
        stand_in.chmod(0o755)
    for line in arguments("RUN"):
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(["sh", "-c", line], cwd=ROOT, env=os.environ | {"PATH": path}, check=True)
    called = (tmp_path / "called").read_text().splitlines()
    required = re.findall(r"^torch(?:vision)?==.+", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.M)
    assert len(required) == 2
    assert called[:2] == [
        f"pip install --index-url https://download.pytorch.org/whl/cpu {' '.join(required)}",
        "pip install -r requirements.txt",
    ]
    assert called[3] == "install -d -o segcore -g segcore /home/segcore/.cache"


def healthy(port: int) -> bool:
    (line,) = arguments("HEALTHCHECK")
    program, *rest = json.loads(line.partition(" CMD ")[2])
    assert program == "python"
    environment = os.environ | {"GRADIO_SERVER_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
    return subprocess.run([sys.executable, *rest], env=environment, capture_output=True, timeout=300).returncode == 0


@pytest.mark.page
def test_the_health_check_tells_a_page_that_answers_from_none(page):
    assert healthy(int(page.url.rpartition(":")[2]))
    assert not healthy(free_port())


def test_the_documentation_says_how_to_build_and_run_it():
    text = Path(ROOT, "docs", "space.md").read_text(encoding="utf-8")
    assert "docker build -t segcore ." in text and f"docker run --rm -p 127.0.0.1:{arguments('EXPOSE')[0]}:" in text
