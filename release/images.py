"""Pins third-party images by digest: ``python -m release.images`` asks each image's registry what its tag is now, and writes
``tag@sha256:…``.

A tag can be moved to other content; a digest cannot. Digests are written where the registries can be reached, and never made up.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

DEPLOY = Path(__file__).parents[1] / "deploy"
FILES = ("docker-compose.yml", "docker-compose.seaweedfs.yml", "docker-compose.cluster.yml", "helm/tael/values.yaml")
_IMAGE = re.compile(
    r"(?P<start>image: *(?:\$\{[A-Z_]+:-)?)(?P<name>[a-z0-9./_-]+):(?P<tag>[A-Za-z0-9._-]+)(?P<digest>@sha256:[0-9a-f]{64})?(?=[}\s]|$)"
)
_OURS = "tael"
_ACCEPT = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in ("oci.image.index.v1", "docker.distribution.manifest.list.v2", "oci.image.manifest.v1", "docker.distribution.manifest.v2")
)
_TIMEOUT_SECONDS = 30


def pinned(text: str, digest_of: Callable[[str, str], str]) -> str:
    """A file's text with the digest of each image behind its tag; ``digest_of`` answers for a name and a tag. Our own image is
    left alone.
    """

    def pin(found: re.Match[str]) -> str:
        if found["name"] == _OURS:
            return found[0]
        return f"{found['start']}{found['name']}:{found['tag']}@{digest_of(found['name'], found['tag'])}"

    return _IMAGE.sub(pin, text)


def place(name: str) -> tuple[str, str]:
    """The registry's host and the repository of an image's name, by Docker's rule."""
    first, _, rest = name.partition("/")
    if rest and ("." in first or ":" in first or first == "localhost"):
        host, repository = first, rest
    else:
        host, repository = "docker.io", name
    if host == "docker.io":
        host, repository = "registry-1.docker.io", repository if "/" in repository else f"library/{repository}"
    return host, repository


def ask(name: str, tag: str) -> str:
    """The digest of a tag, from its registry. Raises OSError where it cannot be had."""
    host, repository = place(name)
    url = f"https://{host}/v2/{repository}/manifests/{tag}"
    try:
        return _digest(url, "")
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
        return _digest(url, _token(error.headers.get("WWW-Authenticate", "")))


def _digest(url: str, token: str) -> str:
    headers = {"Accept": _ACCEPT, **({"Authorization": f"Bearer {token}"} if token else {})}
    request = urllib.request.Request(url, headers=headers, method="HEAD")  # noqa: S310  # https
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
        digest = response.headers.get("Docker-Content-Digest", "")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise OSError(f"{url} answers without a digest")
    return str(digest)


def _token(challenge: str) -> str:
    """What a registry gives anybody for reading, by its challenge."""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    if not fields.get("realm", "").startswith("https://"):
        raise OSError(f"the registry's challenge names no https realm: {challenge!r}")
    url = f"{fields['realm']}?service={fields.get('service', '')}&scope={fields.get('scope', '')}"
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310  # https, as checked
        found = json.load(response)
    return str(found.get("token") or found["access_token"])


def main() -> int:
    """Ask for all first, then write: a registry that cannot be reached leaves every file as it was."""
    seen: dict[tuple[str, str], str] = {}

    def once(name: str, tag: str) -> str:
        if (name, tag) not in seen:
            seen[name, tag] = ask(name, tag)
        return seen[name, tag]

    try:
        texts = {path: pinned(path.read_text(), once) for path in (DEPLOY / name for name in FILES) if path.exists()}
    except (OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"nothing was written: {error}\n")
        return 1
    for path, text in texts.items():
        path.write_text(text)
    sys.stdout.writelines(f"{name}:{tag}@{digest}\n" for (name, tag), digest in sorted(seen.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
