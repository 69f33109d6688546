"""Cases as command lines: `pdp authorize|decide|intercept|tools --bundle … --json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pdp.cli import main
from tests.corpus.corpus import RPCS, Case, Json
from tests.corpus.forms import read_message, response_form, without_open_reasons

_COMMANDS = {"Authorize": "authorize", "Decide": "decide", "FilterTools": "tools", "Intercept": "intercept"}
#: Texts of a request to the options that give them.
_OPTIONS = {"request_id": "--request-id", "decision_id": "--decision-id", "server": "--server"}


def command(case: Case, bundle: Path, directory: Path) -> list[str]:
    """The command line that asks the case. Documents and the configuration are written below `directory`."""
    request = case.request
    words = [_COMMANDS[case.rpc], "--json", "--timeout=60", f"--bundle={bundle}", *_subject(request["subject"])]
    if "tool_call" in request:
        call = request["tool_call"]
        words.append(f"--tool={call['server']}/{call['tool']}")
        words += [f"--session-id={call['session_id']}"] if "session_id" in call else []
    if "action_on_resource" in request:
        asked = request["action_on_resource"]
        words += [f"--action={uid_text(asked['action'])}", f"--resource={uid_text(asked['resource'])}"]
    if "phase" in request:
        words.append(f"--phase={request['phase'].removeprefix('PHASE_').lower()}")
    words += ["--result-is-error"] if request.get("result_is_error") else []
    words += [f"{option}={request[name]}" for name, option in _OPTIONS.items() if name in request]
    for name, content in case.documents.items():
        words.append(f"--{name}=@{_written(directory / f'{name}.json', content)}")
    if case.rpc == "FilterTools":
        words += _tools(case, directory)
    if case.config:
        text = "".join(_section(name, values) for name, values in case.config.items())
        words.append(f"--config={_written(directory / 'pdp.toml', text.encode())}")
    return words


def uid_text(uid: Json) -> str:
    """An entity in Cedar's syntax, every character of its id that could mean anything escaped."""
    return f'{uid["type"]}::"{"".join(_escaped(character) for character in uid.get("id", ""))}"'


def _escaped(character: str) -> str:
    return character if character.isascii() and character.isalnum() else f"\\u{{{ord(character):x}}}"


def _subject(subject: Json) -> list[str]:
    words = [f"--subject={uid_text(subject['entity'])}"]
    return words + ([f"--on-behalf-of={uid_text(subject['on_behalf_of'])}"] if "on_behalf_of" in subject else [])


def _tools(case: Case, directory: Path) -> list[str]:
    """The tools of a list: their names, or where their definitions came, or there are none, a manifest."""
    names = [tool["name"] for tool in case.request.get("tools", ())]
    if names and not case.definitions:
        return [f"--tool={name}" for name in names]
    manifest = b'{"tools":[' + b",".join(case.definitions[name] for name in names) + b"]}"
    return [f"--manifest={_written(directory / 'manifest.json', manifest)}"]


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _section(name: str, values: Json) -> str:
    return f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def check_command(words: list[str], case: Case, capsys: Any) -> None:
    """The command prints the answer or the error of the case, and its exit status says which it is.

    `capsys` is pytest's.
    """
    status = main(words)
    printed = json.loads(capsys.readouterr().out)
    if case.error is not None:
        assert status == 2
        error = printed["error"]
        assert error == {**error, **case.error, "message": error["message"]}
        assert case.error.get("message", "") in error["message"]
        return
    assert case.response is not None
    response: Any = RPCS[case.rpc][1]()
    read_message(printed, response)
    assert len(response.revision) == 64
    assert case.rpc == "FilterTools" or response.decision_id
    assert without_open_reasons(response_form(response), case.response) == case.response
    allowed = case.response.get("allowed") or case.response.get("decision") == "DECISION_ALLOW"
    assert status == (0 if allowed else 1)
