"""The packages that a lock file pins, as a CycloneDX bill of materials and as a list of licences."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from tael import __version__

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.+!_-]*)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_CLASSIFIER = "License :: OSI Approved :: "
_KNOWN = {"Apache Software License": "Apache-2.0", "BSD License": "BSD-3-Clause", "MIT License": "MIT"}


@dataclass
class Package:
    """One pin: the version, the SHA-256 of each file that may be installed for it, and the line of the lock file."""

    name: str
    version: str
    line: int
    hashes: list[str] = field(default_factory=list)


def read_lock(text: str) -> list[Package]:
    """The pins of a lock file, as pip-compile writes it. Raises ValueError for a requirement that is not pinned, with its line."""
    found: list[Package] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].strip().rstrip("\\").strip()
        if pin := _PIN.match(words):
            found.append(Package(re.sub(r"[-_.]+", "-", pin[1]).lower(), pin[2], number))
        elif words and not words.startswith("--hash="):
            raise ValueError(f"line {number}: {words!r} pins no version")
        if found:
            found[-1].hashes += _HASH.findall(line)
    return found


def licence(name: str) -> str:
    """The licence that an installed package states, as an SPDX expression where it is one; empty where it says nothing."""
    try:
        stated: Any = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return ""
    if expression := stated.get("License-Expression"):
        return str(expression)
    classified = [line.removeprefix(_CLASSIFIER) for line in stated.get_all("Classifier") or () if line.startswith(_CLASSIFIER)]
    text = (stated.get("License") or "").strip()
    if text and "\n" not in text and len(text) <= 64:
        return text
    return " OR ".join(_KNOWN.get(one, one) for one in classified)


def bill_of_materials(packages: Iterable[Package]) -> str:
    """CycloneDX 1.6 as JSON; the same lock file gives the same text."""
    components = [_component(package) for package in sorted(packages, key=lambda package: package.name)]
    identity = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(components, sort_keys=True))
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{identity}",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "tael", "version": __version__, "purl": f"pkg:pypi/tael@{__version__}"}},
        "components": components,
    }
    return json.dumps(bill, indent=2) + "\n"


def _component(package: Package) -> dict[str, Any]:
    purl = f"pkg:pypi/{package.name}@{package.version}"
    component: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": package.name, "version": package.version, "purl": purl}
    if stated := licence(package.name):
        # An expression has to be SPDX's own; whatever else a package says is a name.
        spdx = re.fullmatch(r"[A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*", stated)
        component["licenses"] = [{"expression": stated}] if spdx else [{"license": {"name": stated}}]
    # One pin is many files (a wheel for each platform); which of them is installed is known there.
    component["properties"] = [{"name": "tael:sha256", "value": value} for value in package.hashes]
    return component


def licences(packages: Iterable[Package]) -> str:
    """A line a package: name, version, licence."""
    rows = sorted((package.name, package.version, licence(package.name) or "not stated") for package in packages)
    width = max((len(f"{name} {version}") for name, version, _ in rows), default=0)
    return "".join(f"{f'{name} {version}':<{width}}  {stated}\n" for name, version, stated in rows)


def locked(path: Path) -> list[Package]:
    """The pins of a file. Raises ValueError that names it."""
    try:
        return read_lock(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
