"""Clients that protoc generates from ``proto/``, as anybody would have them: ``stubs("tempo_query").StreamingQuerierStub(channel)``."""

from __future__ import annotations

import functools
import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import grpc_tools  # type: ignore[import-untyped]
from grpc_tools import protoc

PROTO = Path(__file__).parents[2] / "proto"
WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"


@functools.cache
def stubs(name: str) -> Any:
    """The generated client module of one file; it uses the messages of ``tael.pb``, as a process can register them only once."""
    module = f"{name}_pb2"
    sys.modules[module] = importlib.import_module(f"tael.pb.{module}")
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["protoc", f"-I{PROTO}", f"-I{WELL_KNOWN}", f"--grpc_python_out={folder}", f"{PROTO / name}.proto"]
        assert protoc.main(arguments) == 0
        sys.path.insert(0, folder)
        try:
            return importlib.import_module(f"{name}_pb2_grpc")
        finally:
            sys.path.remove(folder)
