"""Lists the packages that segcore installs, their stated licences, and the shared libraries in their wheels.

    python -m benchmarks.licences

A Markdown table of this environment: the packages that pyproject.toml and requirements.txt name, extras included, and
the packages that those need in turn.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
_BUNDLED = re.compile(r"\.(libs|dylibs)/|/lib[^/]+\.so\.\d[^/]*$")
_LONGEST = 120  # characters: some packages give the full licence text as its name


def named() -> dict[str, list[str]]:
    """Return the packages in pyproject.toml and requirements.txt, and who needs each: library, page or an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = {"library": project["dependencies"], "page": (ROOT / "requirements.txt").read_text("utf-8").splitlines()}
    places: dict[str, list[str]] = {}
    for place, lines in (wanted | project["optional-dependencies"]).items():
        for line in lines:
            if line and not line.startswith("#"):
                places.setdefault(Requirement(line).name.lower(), []).append(place)
    return places


def installed(names: list[str]) -> Iterator[Distribution]:
    """Return the named packages and their dependencies, without duplicates and without packages not installed."""
    waiting, seen = [Requirement(name) for name in names], set()
    while waiting:
        asked = waiting.pop()
        for extra in ("", *asked.extras):
            if (asked.name.lower(), extra) in seen:
                continue
            seen.add((asked.name.lower(), extra))
            try:
                package = distribution(asked.name)
            except PackageNotFoundError:
                break
            if not extra:
                yield package
            needed = [Requirement(line) for line in package.requires or ()]
            waiting += [each for each in needed if each.marker is None or each.marker.evaluate({"extra": extra})]


def licence(package: Distribution) -> str:
    """Return the licence in the package's metadata: an SPDX expression, or classifiers, or a name."""
    metadata = package.metadata
    classifiers = [each.rpartition(" :: ")[2] for each in metadata.get_all("Classifier", []) if "License ::" in each]
    stated = metadata["License-Expression"] or ", ".join(classifiers) or metadata["License"] or "not stated"
    return stated.splitlines()[0][:_LONGEST]


def shared_libraries(package: Distribution) -> list[str]:
    """Return the names, without versions, of the shared libraries in a package."""
    files = [file for file in package.files or () if _BUNDLED.search(f"/{file}") and file.suffix != ".py"]
    return sorted({re.split(r"[-.]", file.name)[0] for file in files}, key=str.lower)


def main() -> None:
    places = named()
    packages = {package.name.lower().replace("_", "-"): package for package in installed(list(places))}
    print("| package | version | asked for by | licence it states | shared libraries inside |")
    print("| --- | --- | --- | --- | --- |")
    for name, package in sorted(packages.items()):
        cells = (
            name,
            package.version,
            ", ".join(places.get(name, [])),
            licence(package),
            ", ".join(shared_libraries(package)),
        )
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
