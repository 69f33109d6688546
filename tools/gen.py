"""Generate the Python code of `protos`, for the service and for its client: messages, services and the types of both.

The protos keep their paths (`pdp/v1/…`), because reflection shows them and other languages use them, but the Python
code lives in packages of its own, `pdp._gen` and `pdp_client._gen`. So the generated imports are moved there; nothing
else is changed.

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
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import ModuleType

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
PACKAGE_DOCSTRING = '"""Code generated from `protos` by `make gen`; never edited by hand."""\n'

# What protoc makes of the paths of our protos: `from pdp.v1 import …` and `pdp.v1.decision_pb2`, but neither the name
# of a service (`/pdp.v1.DecisionService/Decide`) nor the package's name in a comment.
_IMPORT_FROM = re.compile(r"^from (pdp\.v1) import ", re.MULTILINE)
_MODULE_NAME = re.compile(r"(?<![\w./])(pdp\.v1\.\w+_pb2)\b")


@dataclass(frozen=True)
class Target:
    """A package of generated code: below which directory of the import path it is, options of its services' types, and
    below which directory of `protos` what it is made of lies."""

    package: str
    base: Path
    service_types: str
    protos: str

    @property
    def output(self) -> Path:
        """Where its files are."""
        return self.base.joinpath(*self.package.split("."))


TARGETS = (
    # The server is synchronous, and so are the types of its servicers.
    Target("pdp._gen", ROOT, "quiet,only_sync", "."),
    # What other projects define, for gateways to ask in their own way, is nothing for this client.
    Target("pdp_client._gen", ROOT / "clients" / "python" / "src", "quiet", "pdp"),
)


def move_imports(source: str, package: str) -> str:
    """Return generated source whose imports of our own protos point into `package`."""
    source = _IMPORT_FROM.sub(rf"from {package}.\1 import ", source)
    return _MODULE_NAME.sub(rf"{package}.\1", source)


def run_protoc(protos: Sequence[str], output: Path, service_types: str) -> None:
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
        f"--mypy_grpc_out={service_types}:{output}",
    ]
    with_service = [proto for proto in protos if proto.endswith("_service.proto")]
    for options, inputs in ((messages, protos), (services, with_service)):
        if status := protoc.main(["protoc", *includes, *options, *inputs]):
            sys.exit(status)


def generate(target: Target, output: Path) -> None:
    """Write the package of `target` into the empty directory `output`."""
    protos = sorted(path.relative_to(PROTOS).as_posix() for path in (PROTOS / target.protos).rglob("*.proto"))
    if not protos:
        sys.exit(f"no protos in `{PROTOS}`")
    run_protoc(protos, output, target.service_types)
    for path in [*output.rglob("*.py"), *output.rglob("*.pyi")]:
        path.write_text(move_imports(path.read_text("utf-8"), target.package), "utf-8")
    for package in [output, *(path for path in output.rglob("*") if path.is_dir())]:
        (package / "__init__.py").write_text(PACKAGE_DOCSTRING, "utf-8")


def contents(directory: Path) -> dict[str, bytes]:
    """Return the files below `directory` by their relative paths, without what Python caches there."""
    files = (path for path in directory.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def differences(fresh: Path, present_in: Path) -> list[str]:
    """Return the paths at which what is present is not what the protos say, sorted."""
    wanted, present = contents(fresh), contents(present_in)
    return sorted(path for path in wanted.keys() | present.keys() if wanted.get(path) != present.get(path))


def load_all() -> int:
    """Import every generated module of all packages into one process, warnings being errors; return how many there are.

    The packages define the same messages; a program may have both the service and its client.
    """
    warnings.simplefilter("error")
    count = 0
    for target in TARGETS:
        # Alone: what is beside the generated code may need more than what it is generated with.
        sys.path.insert(0, str(target.base))
        parent = target.package.partition(".")[0]
        sys.modules[parent] = ModuleType(parent)
        sys.modules[parent].__path__ = [str(target.base / parent)]
        for path in sorted(target.output.rglob("*_pb2*.py")):
            importlib.import_module(".".join(path.relative_to(target.base).with_suffix("").parts))
            count += 1
    return count


def settle(target: Target, check: bool) -> str | None:
    """Write the package of `target` anew, or with `check` compare it; return what is wrong with it, if anything is."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        generate(target, fresh)
        name = target.output.relative_to(ROOT)
        if check:
            stale = differences(fresh, target.output)
            return f"{name} is not what the protos say, run `make gen`: {', '.join(stale)}" if stale else None
        shutil.rmtree(target.output, ignore_errors=True)
        shutil.copytree(fresh, target.output)
        print(f"generated {name}")
        return None


def main() -> None:
    """Generate, or with `--check` compare and load; exits with 1 where they differ."""
    parser = argparse.ArgumentParser(description="generate the Python code of protos")
    parser.add_argument("--check", action="store_true", help="change nothing; fail if something is not up to date")
    check = parser.parse_args().check
    if problems := [problem for target in TARGETS if (problem := settle(target, check))]:
        sys.exit("\n".join(problems))
    if check:
        print(f"the generated code is what the protos say; its {load_all()} modules load on the oldest runtime")


if __name__ == "__main__":
    main()
