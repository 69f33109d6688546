"""Generate `pdp/_gen` from `protos`: messages, services and the type stubs of both.

The protos keep their paths (`pdp/v1/…`), because reflection shows them and other languages use them, but the Python
code lives in the package `pdp._gen`. So the generated imports are moved there; nothing else is changed.

Run by `make gen` and `make gen-check` in the environment that `tools/requirements.lock` pins, which has the oldest
gRPC and protobuf that the project supports.
"""

from __future__ import annotations

import argparse
import importlib
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
OUTPUT = ROOT / "pdp" / "_gen"

PACKAGE = "pdp._gen"
PACKAGE_DOCSTRING = '"""Code generated from `protos` by `make gen`; never edited by hand."""\n'

# What protoc makes of the paths of our protos: `from pdp.v1 import …` and `pdp.v1.decision_pb2`, but neither the name
# of a service (`/pdp.v1.DecisionService/Decide`) nor the package's name in a comment.
_IMPORT_FROM = re.compile(r"^from (pdp\.v1) import ", re.MULTILINE)
_MODULE_NAME = re.compile(r"(?<![\w./])(pdp\.v1\.\w+_pb2)\b")


def move_imports(source: str) -> str:
    """Return generated source whose imports of our own protos point into `pdp._gen`."""
    source = _IMPORT_FROM.sub(rf"from {PACKAGE}.\1 import ", source)
    return _MODULE_NAME.sub(rf"{PACKAGE}.\1", source)


def run_protoc(protos: Sequence[str], output: Path) -> None:
    """Write the generated files below `output`, as protoc makes them. Exits with protoc's status if it fails."""
    plugins = Path(sys.executable).parent
    includes = [f"--proto_path={PROTOS}", f"--proto_path={resources.files('grpc_tools') / '_proto'}"]
    messages = [
        f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
        f"--python_out={output}",
        f"--mypy_out=quiet:{output}",
    ]
    services = [
        f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
        f"--grpc_python_out={output}",
        # The server is synchronous, and so are the types of its servicers.
        f"--mypy_grpc_out=quiet,only_sync:{output}",
    ]
    with_service = [proto for proto in protos if proto.endswith("_service.proto")]
    for options, inputs in ((messages, protos), (services, with_service)):
        if status := protoc.main(["protoc", *includes, *options, *inputs]):
            sys.exit(status)


def generate(output: Path) -> None:
    """Write the package `pdp._gen` into the empty directory `output`."""
    protos = sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.rglob("*.proto"))
    if not protos:
        sys.exit(f"no protos in `{PROTOS}`")
    run_protoc(protos, output)
    for path in [*output.rglob("*.py"), *output.rglob("*.pyi")]:
        path.write_text(move_imports(path.read_text("utf-8")), "utf-8")
    for package in [output, *(path for path in output.rglob("*") if path.is_dir())]:
        (package / "__init__.py").write_text(PACKAGE_DOCSTRING, "utf-8")


def contents(directory: Path) -> dict[str, bytes]:
    """Return the files below `directory` by their relative paths, without what Python caches there."""
    files = (path for path in directory.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def differences(fresh: Path) -> list[str]:
    """Return the paths at which `pdp/_gen` is not what the protos say, sorted."""
    wanted, present = contents(fresh), contents(OUTPUT)
    return sorted(path for path in wanted.keys() | present.keys() if wanted.get(path) != present.get(path))


def load_all() -> int:
    """Import every generated module, warnings being errors; return how many there are."""
    sys.path.insert(0, str(ROOT))
    warnings.simplefilter("error")
    modules = sorted(path.relative_to(ROOT).with_suffix("") for path in OUTPUT.rglob("*_pb2*.py"))
    for module in modules:
        importlib.import_module(".".join(module.parts))
    return len(modules)


def main() -> None:
    """Generate, or with `--check` compare and load; exits with 1 where the two differ."""
    parser = argparse.ArgumentParser(description="generate pdp/_gen from protos")
    parser.add_argument("--check", action="store_true", help="change nothing; fail if pdp/_gen is not up to date")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        generate(fresh)
        if check:
            if stale := differences(fresh):
                sys.exit(f"pdp/_gen is not what the protos say, run `make gen`: {', '.join(stale)}")
            print(f"pdp/_gen is what the protos say; its {load_all()} modules load on the oldest runtime")
            return
        shutil.rmtree(OUTPUT, ignore_errors=True)
        shutil.copytree(fresh, OUTPUT)
        print("generated pdp/_gen")


if __name__ == "__main__":
    main()
