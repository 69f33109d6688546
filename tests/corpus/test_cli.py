"""The corpus at the command line: `pdp authorize --bundle … --json`, in this process.

The command line asks for a decision and writes no decision log, so of a case it shows the answer or the error.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf import json_format

from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.cli import main
from tests.corpus.conftest import BundlePath
from tests.corpus.corpus import Case, Json, response_form


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PDP_CONFIG", "PDP_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def uid_text(uid: Json) -> str:
    """An entity in Cedar's syntax, every character of its id that could mean anything escaped."""
    return f'{uid["type"]}::"{"".join(_escaped(character) for character in uid.get("id", ""))}"'


def _escaped(character: str) -> str:
    return character if character.isascii() and character.isalnum() else f"\\u{{{ord(character):x}}}"


def command(case: Case, bundle: Path, directory: Path) -> list[str]:
    """The command line that asks the case. Documents and the configuration are written below `directory`."""
    request = case.request
    words = ["authorize", "--json", f"--bundle={bundle}", f"--subject={uid_text(request['subject']['entity'])}"]
    if "tool_call" in request:
        call = request["tool_call"]
        words.append(f"--tool={call['server']}/{call['tool']}")
        words += [f"--session-id={call['session_id']}"] if "session_id" in call else []
    else:
        asked = request["action_on_resource"]
        words += [f"--action={uid_text(asked['action'])}", f"--resource={uid_text(asked['resource'])}"]
    words += [f"--request-id={request['request_id']}"] if "request_id" in request else []
    for name, content in case.documents.items():
        path = directory / f"{name}.json"
        path.write_bytes(content)
        words.append(f"--{name}=@{path}")
    if case.config:
        path = directory / "pdp.toml"
        path.write_text("".join(_section(name, values) for name, values in case.config.items()), "utf-8")
        words.append(f"--config={path}")
    return words


def _section(name: str, values: Json) -> str:
    return f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def test_answer(case: Case, bundle_path: BundlePath, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the answer or the error of the case, and its exit status says which it is."""
    status = main(command(case, bundle_path(case.bundle), tmp_path))
    printed = json.loads(capsys.readouterr().out)
    if case.error is not None:
        assert status == 2
        message = printed["error"].pop("message")
        assert printed == {"error": {name: text for name, text in case.error.items() if name != "message"}}
        assert case.error.get("message", "") in message
        return
    response = json_format.ParseDict(printed, pb.AuthorizeResponse())
    assert response.decision_id
    assert len(response.revision) == 64
    assert response_form(response) == case.response
    assert status == (0 if response_form(response)["decision"] == "DECISION_ALLOW" else 1)
