"""Guard plain functions.

    @guarded(client, server="payments", subject=entity("Agent", "clerk"))
    def transfer(account: str, amount: int) -> dict[str, str]: ...

A call that is not allowed is an exception, and the function does not run.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from pdp_client import AsyncClient, Client
from pdp_client.integrations.documents import encoded
from pdp_client.integrations.errors import UnreadableError
from pdp_client.integrations.guard import AsyncGuard, Guard, Permit, Question
from pdp_client.integrations.identity import Who, identify, identify_async

_P = ParamSpec("_P")
_R = TypeVar("_R")

# Only what has a name can be a member of the arguments' JSON object.
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def guarded(
    client: Client | AsyncClient, *, server: str, subject: Who, tool: str | None = None
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """A decorator: a call of the function is the tool call `server`/`tool`; without `tool` it has the function's name.

    The arguments, defaults included, are bound to the parameters' names and have to be JSON; the function gets those
    that were authorized, and the caller gets its result, JSON too, as the interceptors leave it. `subject` is who
    calls, or a callable without parameters that says so; for a coroutine function it may be one too.

    The decorated function raises RefusedError, before the function runs or in place of its result. What the function
    itself raises passes as it is. Decorating raises ValueError for `*args`, `**kwargs` and positional-only parameters,
    and TypeError for a function that is no coroutine function with an `AsyncClient`.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        bound = _Bound(inspect.signature(function), server, tool or function.__name__)
        if inspect.iscoroutinefunction(function):
            return cast("Callable[_P, _R]", _guard_async(function, AsyncGuard(client), bound, subject))
        if isinstance(client, AsyncClient):
            raise TypeError(f"`{function.__name__}` is no coroutine function; guard it with a `Client`")
        return cast("Callable[_P, _R]", _guard(function, Guard(client), bound, subject))

    return decorate


class _Bound:
    """A function's parameters as the members of a JSON object, and back."""

    def __init__(self, signature: inspect.Signature, server: str, tool: str) -> None:
        for parameter in signature.parameters.values():
            if parameter.kind not in _NAMED:
                raise ValueError(f"the parameter `{parameter}` of `{tool}` has no name that an argument can have")
        self._signature = signature
        self._server = server
        self._tool = tool

    def arguments(self, *args: object, **kwargs: object) -> bytes:
        """The JSON text of the arguments. Raises TypeError as a call would, UnreadableError where they are no JSON."""
        arguments = self._signature.bind(*args, **kwargs)
        arguments.apply_defaults()
        return encoded(dict(arguments.arguments), "the arguments")

    def question(self, subject: Any, arguments_json: bytes) -> Question:
        """Whether this call may be made."""
        return Question(subject, self._server, self._tool, arguments_json)

    def authorized(self, permit: Permit) -> dict[str, Any]:
        """The arguments to call the function with. Raises UnreadableError where it does not take them."""
        try:
            self._signature.bind(**permit.arguments)
        except TypeError as error:
            raise UnreadableError("the authorized arguments do not fit the function") from error
        return permit.arguments


def _guard(function: Callable[..., Any], guard: Guard, bound: _Bound, subject: Any) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: object, **kwargs: object) -> Any:
        arguments = bound.arguments(*args, **kwargs)
        permit = guard.decide(bound.question(identify(subject), arguments))
        result = function(**bound.authorized(permit))
        return guard.passed(permit, result)

    return call


def _guard_async(function: Callable[..., Any], guard: AsyncGuard, bound: _Bound, subject: Any) -> Callable[..., Any]:
    @functools.wraps(function)
    async def call(*args: object, **kwargs: object) -> Any:
        arguments = bound.arguments(*args, **kwargs)
        permit = await guard.decide(bound.question(await identify_async(subject), arguments))
        result = await function(**bound.authorized(permit))
        return await guard.passed(permit, result)

    return call
