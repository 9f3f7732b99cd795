"""Whether the dependencies are what they should be: ``python -m release.audit [--advisories]``.

Without a network: every pin has hashes, the locks agree, licences are among those that may be shipped, and what is installed is what is
pinned. ``--advisories`` asks osv.dev for published vulnerabilities as well.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from release.inventory import Package, licence, locked

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.lock", "requirements-local.lock", "requirements-dev.lock")
OSV = "https://api.osv.dev/v1/querybatch"
_FORBIDDEN = ("GPL", "AGPL", "SSPL", "BUSL", "PROPRIETARY")
"""In a licence of what the image holds. LGPL is not meant, nor are these words as one of several choices."""


def problems(locks: dict[str, list[Package]]) -> list[str]:
    """One line for each thing that is wrong, by lock file."""
    found = [f"{name}: {pin.name} has no hash" for name, pins in locks.items() for pin in pins if not pin.hashes]
    newest = {pin.name: pin for pin in locks[LOCKS[-1]]}
    for name, pins in locks.items():
        for pin in pins:
            other = newest.get(pin.name)
            if other is None or other.version != pin.version:
                found.append(f"{name}: {pin.name} {pin.version} is {other.version if other else 'missing'} in {LOCKS[-1]}: make lock")
            elif not set(pin.hashes) <= set(other.hashes):
                found.append(f"{name}: {pin.name} has other hashes than in {LOCKS[-1]}: make lock")
    found += [
        f"{LOCKS[0]}: {pin.name} may not be shipped under {licence(pin.name)}" for pin in locks[LOCKS[0]] if _forbidden(licence(pin.name))
    ]
    return found


def drift(pins: Iterable[Package]) -> list[str]:
    """Packages that are installed in another version than the one that is pinned."""
    installed = {(one.metadata["Name"] or "").lower().replace("_", "-").replace(".", "-"): one.version for one in metadata.distributions()}
    return [
        f"{pin.name} {installed[pin.name]} is installed and {pin.version} is pinned: make dev"
        for pin in pins
        if pin.name in installed and installed[pin.name] != pin.version
    ]


def _forbidden(stated: str) -> bool:
    choices = stated.upper().replace("LGPL", "").split(" OR ")
    return all(any(word in choice for word in _FORBIDDEN) for choice in choices)


def advisories(pins: list[Package], url: str = OSV) -> list[str]:
    """Published vulnerabilities of the pinned versions. Raises OSError where the service cannot be reached."""
    queries = [{"package": {"name": pin.name, "ecosystem": "PyPI"}, "version": pin.version} for pin in pins]
    request = urllib.request.Request(url, json.dumps({"queries": queries}).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310  # the address above
        results = json.load(response)["results"]
    return [
        f"{pin.name} {pin.version}: {', '.join(one['id'] for one in result['vulns'])}"
        for pin, result in zip(pins, results, strict=True)
        if result.get("vulns")
    ]


def main(arguments: list[str]) -> int:
    """Print what is wrong; the exit code says whether anything is."""
    locks = {name: locked(ROOT / name) for name in LOCKS}
    found = problems(locks) + drift(locks[LOCKS[-1]])
    if "--advisories" in arguments:
        try:
            found += advisories(locks[LOCKS[0]])
        except (OSError, ValueError, KeyError) as error:
            found.append(f"advisories cannot be asked for: {error}")
    sys.stdout.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
