"""What is evaluated and not enforced, as `GetStatus` shows it."""

from __future__ import annotations

from collections.abc import Mapping

from pdp._gen.pdp.v1 import admin_service_pb2 as pb
from pdp.bundle.snapshot import Snapshot
from pdp.candidate import Candidate


def write_shadow(snapshot: Snapshot | None, candidate: Candidate | None) -> pb.ShadowStatus:
    """Shadow policies of the bundle in force, and the candidate bundle if there is one."""
    status = pb.ShadowStatus()
    if snapshot is not None:
        status.nothing_enforced = snapshot.in_shadow
        status.policies.extend(_flips(snapshot.flips.counts()))
    if candidate is not None:
        status.candidate.CopyFrom(_candidate(candidate))
    return status


def _candidate(candidate: Candidate) -> pb.CandidateStatus:
    loading, counts = candidate.store.status, candidate.counts()
    status = pb.CandidateStatus(
        degraded_reasons=loading.degraded,
        compared=counts.compared,
        newly_allowed=counts.newly_allowed,
        newly_denied=counts.newly_denied,
        otherwise_different=counts.otherwise_different,
        skipped=counts.skipped,
        policies=_flips(counts.policies),
    )
    if loading.snapshot is not None:
        status.revision = loading.snapshot.revision
        status.bundle_name = loading.snapshot.name
        status.source = loading.snapshot.origin
    return status


def _flips(counts: Mapping[str, tuple[int, int]]) -> list[pb.PolicyFlips]:
    return [
        pb.PolicyFlips(policy_id=policy_id, flips=flips, matches=matches)
        for policy_id, (flips, matches) in counts.items()
    ]
