"""pdp.py: what an interceptor in Python needs, in one file. `build` lays it beside your main.py, so

    from pdp import deny, interceptor, passed

    def check(call, settings):
        if call.arguments.get("force"):
            return deny("`force` is not allowed here")
        return passed()

    WitWorld = interceptor(name="no-force", version="1.0.0", on_request=check)

The name `WitWorld` is what the toolchain looks for. An exception that leaves a hook is the interceptor's failure; its
message goes to the operator's log. main.py is imported when the component is built, and never again: there is no clock,
no file and no network in a call, nothing can be imported then, and `random` gives the same numbers in every call.
"""
# ruff: noqa: INP001

import gc
import json
import re
from json.decoder import scanstring

from componentize_py_types import Err

_SPACE = re.compile(r"[ \t\r\n]*")


def interceptor(*, name, version, configure=None, on_request=None, on_response=None):
    """Make the class that the world `interceptor` asks for.

    `configure(config)` checks the binding's configuration, a dict, and gives what the hooks get as their second
    argument. It runs before each hook, as every call has an instance of its own. Leave out the hook of a phase that you
    do not serve.
    """
    hooks = {"request": on_request, "response": on_response}

    def serve(phase, text):
        try:
            if hooks[phase] is None:
                raise ValueError(f"there is no hook for the phase `{phase}`")
            call = Call(text)
            settings = configure(call.config) if configure else None
            return _encode(hooks[phase](call, settings), phase)
        except Exception as error:  # noqa: BLE001 - the boundary: beyond it, it would be a trap without a reason
            raise Err(str(error) or type(error).__name__) from None

    class WitWorld:
        def describe(self):
            return write({"v": 1, "phases": [p for p in hooks if hooks[p]], "name": name, "version": version})

        def on_request(self, request):
            return serve("request", request)

        def on_response(self, request):
            return serve("response", request)

    _settle()
    return WitWorld


class Call:
    """One tool call. What ends in `_json` is the exact text; the others are values to look at."""

    def __init__(self, text):
        request = Object(text)
        tool_call = Object(request["tool_call"])
        self.phase = read(request["phase"])
        self.request_id = read(request["request_id"])
        self.subject = read(request["subject"])
        self.context = read(request["context"])
        self.config = read(request["config"])
        self.server = read(tool_call["server"])
        self.tool = read(tool_call["tool"])
        self.session_id = read(tool_call["session_id"])
        self.arguments_json = tool_call["arguments"]
        self.result_json = request.get("result")
        self.result_is_error = read(request.get("result_is_error", "false"))

    @property
    def arguments(self):
        return read(self.arguments_json)

    @property
    def result(self):
        return None if self.result_json is None else read(self.result_json)


def _settle():
    """Leave the memory, as it is stored in the component, in a good state: about 2 MB smaller."""
    gc.collect()
    gc.disable()  # an instance ends with its call: collecting would only touch memory that is shared until then
    zeros = []
    top = id(bytes(1 << 16))
    for size in (1 << 16, 1 << 14, 1 << 12, 1 << 10, *range(960, 0, -16)):
        while id(block := bytes(size)) < top:
            zeros.append(block)


def passed(**extra):
    """The payload goes on as it is. `extra` may hold `reason` and `annotations`, here and below."""
    return {"verdict": "pass", **extra}


def deny(message, **extra):
    """The call, or its result, is withheld. The agent may see `message`."""
    return {"verdict": "deny", "message": message, **extra}


def transform(payload, **extra):
    """The payload goes on as `payload`: the JSON text of the new arguments or of the new result."""
    return {"verdict": "transform", **extra}, payload


def _encode(reply, phase):
    if isinstance(reply, dict):
        return write(reply)
    fields, payload = reply
    member = "arguments" if phase == "request" else "result"
    return f'{write(fields)[:-1]},"{member}":{payload}}}'


# ---- JSON text that stays what it is


def read(text):
    """The value of a JSON text, to look at: do not write it back. Numbers become int or float, and may lose digits."""
    return _VALUES.decode(text)


def write(value):
    """The JSON text of a value."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class Object(dict):
    """A JSON object, `{name: JSON text of the value}`. What you do not change is written as it was, digit for digit."""

    def __init__(self, text):
        super().__init__()
        self._spelled = {}
        at = _after(text, _SPACE.match(text).end(), "{")
        while text[at] != "}":
            name, end = scanstring(text, at + 1)
            self._spelled[name] = text[at:end]
            self[name], at = _value(text, _after(text, _SPACE.match(text, end).end(), ":"))
            if text[at] != "}":
                at = _after(text, at, ",")

    def rename(self, old, new):
        """Give a member another name and leave it in its place."""
        members = [(new if name == old else name, value) for name, value in self.items()]
        self.clear()
        self.update(members)

    def text(self):
        """The object as JSON text."""
        return "{" + ",".join(f"{self._spelled.get(name) or write(name)}:{value}" for name, value in self.items()) + "}"


class Array(list):
    """A JSON array, a list of the JSON texts of its elements. What you do not change is written as it was."""

    def __init__(self, text):
        super().__init__()
        at = _after(text, _SPACE.match(text).end(), "[")
        while text[at] != "]":
            value, at = _value(text, at)
            self.append(value)
            if text[at] != "]":
                at = _after(text, at, ",")

    def text(self):
        """The array as JSON text."""
        return "[" + ",".join(self) + "]"


def _value(text, at):
    """The JSON text of the value at `at`, and where what follows it begins."""
    _, end = _SKIPPED.raw_decode(text, at)
    return text[at:end], _SPACE.match(text, end).end()


def _after(text, at, sign):
    if text[at : at + 1] != sign:
        raise ValueError(f"there is no `{sign}` in the JSON text where one has to be")
    return _SPACE.match(text, at + 1).end()


def _integer(digits):
    return int(digits) if len(digits) < 1000 else float(digits)


_VALUES = json.JSONDecoder(parse_int=_integer)
_SKIPPED = json.JSONDecoder(parse_int=len, parse_float=len)  # a number of a million digits is no reason to fail
