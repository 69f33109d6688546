"""Who makes a call: a fixed subject, or what a callable says each time."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from pdp_client import Subject
from pdp_client.integrations.errors import IdentityError

#: A subject for all calls, or a callable that says whose call this is; what it gets, its integration says.
Who = Subject | Callable[..., Subject | Awaitable[Subject]]


def identify(who: Who, *arguments: object) -> Subject:
    """Who makes this call. Raises IdentityError where nobody says so, whatever went wrong.

    A coroutine function says nothing here, where nobody can wait for it.
    """
    said = who if isinstance(who, Subject) else _called(who, *arguments)
    if inspect.iscoroutine(said):
        said.close()
    return checked_subject(said)


async def identify_async(who: Who, *arguments: object) -> Subject:
    """As `identify`, and waits for what the callable says."""
    said = who if isinstance(who, Subject) else _called(who, *arguments)
    if inspect.isawaitable(said):
        try:
            said = await said
        except Exception as error:
            raise IdentityError from error
    return checked_subject(said)


def checked_subject(subject: object) -> Subject:
    """`subject`, if it is one. Raises IdentityError for None, an empty one, or anything else."""
    if not isinstance(subject, Subject):
        raise IdentityError
    kind = subject.WhichOneof("subject")
    if kind == "token" and subject.token:
        return subject
    if kind == "entity" and subject.entity.type and subject.entity.id:
        return subject
    raise IdentityError


def _called(who: Callable[..., object], *arguments: object) -> object:
    try:
        return who(*arguments)
    # It is somebody else's code: whatever goes wrong in it, it did not say who this is.
    except Exception as error:
        raise IdentityError from error
