"""Builds a release into ``build/release``: wheel, sdist, chart, bill of materials, licences, and the image where there is an engine.

python -m release.build
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from setuptools import build_meta

from release.inventory import bill_of_materials, licences, locked
from tael import __version__

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "build" / "release"
CHART = ROOT / "deploy" / "helm" / "tael"


def main() -> int:
    """Build everything; say what was left out and why."""
    problem = unfit()
    if problem:
        sys.stderr.write(f"no release: {problem}\n")
        return 1
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    os.chdir(ROOT)
    os.environ.setdefault("SOURCE_DATE_EPOCH", _git("log", "-1", "--format=%ct") or "0")
    build_meta.build_sdist(str(OUTPUT))
    build_meta.build_wheel(str(OUTPUT))
    (OUTPUT / f"tael-chart-{__version__}.tgz").write_bytes(chart(CHART, int(os.environ["SOURCE_DATE_EPOCH"])))
    packages = locked(ROOT / "requirements.lock")
    (OUTPUT / f"tael-{__version__}.cdx.json").write_text(bill_of_materials(packages))
    (OUTPUT / f"tael-{__version__}-licences.txt").write_text(licences(packages))
    left_out = _image()
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(OUTPUT.iterdir()))
    (OUTPUT / "SHA256SUMS").write_text(sums)
    sys.stdout.write(sums + (f"no image: {left_out}\n" if left_out else ""))
    return 0


def unfit() -> str:
    """Why this version cannot be released: its number stands in three places, and CHANGELOG.md tells of it. Empty when it can."""
    project, chart_file = (ROOT / "pyproject.toml").read_text(), (CHART / "Chart.yaml").read_text()
    if f'version = "{__version__}"' not in project:
        return f"tael.__version__ is {__version__}, and pyproject.toml has another"
    if f"version: {__version__}\n" not in chart_file or __version__ not in chart_file.partition("appVersion:")[2].split("\n")[0]:
        return f"deploy/helm/tael/Chart.yaml has another version than {__version__}"
    return ""


def chart(folder: Path, stamp: int) -> bytes:
    """A chart as Helm packages it, with the same bytes for the same files."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = tarfile.TarInfo(f"{folder.name}/{path.relative_to(folder)}")
            content = path.read_bytes()
            entry.size, entry.mtime, entry.mode = len(content), stamp, 0o644
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=stamp)


def _image() -> str:
    """Build the image and save it. Why there is none, else empty."""
    engine = next((found for name in ("docker", "podman") if (found := shutil.which(name))), None)
    if engine is None:
        return "there is no docker and no podman"
    if subprocess.run([engine, "info"], capture_output=True, check=False).returncode != 0:
        return f"{Path(engine).name} has no engine that answers"
    tag, file = f"tael:{__version__}", OUTPUT / f"tael-image-{__version__}.tar"
    subprocess.run([engine, "build", "-f", "deploy/Dockerfile", "--target", "tael", "-t", tag, "."], check=True)
    subprocess.run([engine, "save", "-o", str(file), tag], check=True)
    return ""


def _git(*arguments: str) -> str:
    ended = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return ended.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
