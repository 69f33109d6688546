"""The other processes that answer at the same addresses, and one account of them all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from pdp._gen.pdp.v1 import admin_service_pb2 as pb
from pdp.live_definitions import KeptTools


class Fellows(Protocol):
    """What a worker knows of the others."""

    def statuses(self) -> Sequence[pb.GetStatusResponse]:
        """How each of the others was a moment ago; fewer where one of them does not answer."""

    def problems(self) -> list[str]:
        """Which of the others do not answer."""

    def reload(self) -> None:
        """Have the others read the bundle again."""

    def changed_tools(self) -> KeptTools | None:
        """Where the workers keep for all of them which tools changed; None where each process does it for itself."""


class NoFellows:
    """A process that serves alone."""

    def statuses(self) -> Sequence[pb.GetStatusResponse]:
        """Nobody's."""
        return ()

    def problems(self) -> list[str]:
        """There is nobody who could be missing."""
        return []

    def reload(self) -> None:
        """There is nobody to tell."""

    def changed_tools(self) -> KeptTools | None:
        """Nobody else has to know."""
        return None


ALONE = NoFellows()


def joined(
    own: pb.GetStatusResponse, others: Sequence[pb.GetStatusResponse], problems: Iterable[str] = ()
) -> pb.GetStatusResponse:
    """One account of all processes: what was counted is added up, and what is wrong with any of them is told.

    What there is only once, such as the bundle, is as `own` has it.
    """
    response = pb.GetStatusResponse()
    response.CopyFrom(own)
    everybody = [own, *others]
    reasons = dict.fromkeys(reason for status in everybody for reason in status.degraded_reasons)
    reasons.update((problem, None) for problem in problems)
    revisions = {status.revision for status in everybody if status.state != pb.SERVICE_STATE_NOT_READY}
    if len(revisions) > 1:
        reasons["the workers do not all have the same revision"] = None
    for other in others:
        if other.state == pb.SERVICE_STATE_NOT_READY:
            reasons.update((f"process {worker.pid} is not ready", None) for worker in other.workers)
    response.degraded_reasons[:] = reasons
    if reasons and response.state == pb.SERVICE_STATE_SERVING:
        response.state = pb.SERVICE_STATE_DEGRADED
    del response.workers[:]
    response.workers.extend(sorted((w for s in everybody for w in s.workers), key=lambda worker: worker.pid))
    for other in others:
        if other.revision == own.revision:
            _add_interceptors(response.interceptors, other.interceptors)
            _add_shadow(response.shadow, other.shadow)
    return response


def _add_interceptors(total: Iterable[pb.InterceptorStatus], more: Iterable[pb.InterceptorStatus]) -> None:
    by_name = {status.name: status for status in more}
    for status in total:
        other = by_name.get(status.name)
        if other is None:
            continue
        status.healthy = status.healthy and other.healthy
        for count in ("calls", "passed", "transformed", "denied"):
            setattr(status, count, getattr(status, count) + getattr(other, count))
        status.total_duration.FromNanoseconds(
            status.total_duration.ToNanoseconds() + other.total_duration.ToNanoseconds()
        )
        if other.last_failure_at.ToNanoseconds() > status.last_failure_at.ToNanoseconds():
            status.last_failure_at.CopyFrom(other.last_failure_at)
        _add_failures(status, other)


def _add_failures(total: pb.InterceptorStatus, more: pb.InterceptorStatus) -> None:
    counts = {failure.error_class: failure.count for failure in total.failures}
    for failure in more.failures:
        counts[failure.error_class] = counts.get(failure.error_class, 0) + failure.count
    del total.failures[:]
    total.failures.extend(pb.InterceptorFailures(error_class=kind, count=counts[kind]) for kind in sorted(counts))


def _add_shadow(total: pb.ShadowStatus, more: pb.ShadowStatus) -> None:
    policies = _added_flips(total.policies, more.policies)
    del total.policies[:]
    total.policies.extend(policies)
    if not (total.HasField("candidate") and more.HasField("candidate")):
        return
    candidate, other = total.candidate, more.candidate
    for count in ("compared", "newly_allowed", "newly_denied", "otherwise_different", "skipped"):
        setattr(candidate, count, getattr(candidate, count) + getattr(other, count))
    flips = _added_flips(candidate.policies, other.policies)
    del candidate.policies[:]
    candidate.policies.extend(flips)


def _added_flips(one: Iterable[pb.PolicyFlips], other: Iterable[pb.PolicyFlips]) -> list[pb.PolicyFlips]:
    total: dict[str, pb.PolicyFlips] = {}
    for flips in (*one, *other):
        known = total.setdefault(flips.policy_id, pb.PolicyFlips(policy_id=flips.policy_id))
        known.flips += flips.flips
        known.matches += flips.matches
    return [total[name] for name in sorted(total)]
