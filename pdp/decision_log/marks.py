"""Records of the log about itself: what it lost, and how far its keeper vouches for it. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pdp.decision_log.chain import Link
from pdp.decision_log.record import timestamp

#: What is signed begins with this, so that a signature under anything else is none here.
_PURPOSE = "pdp decision log checkpoint 1"
#: How much of a sink's own words is kept.
_MAX_CAUSE = 200
#: How a line begins that stands in the place of a record.
STUB_BEGIN = b'{"kind":"refused",'
#: How the log's records about itself begin.
MARK_BEGINS = (b'{"kind":"gap",', b'{"kind":"checkpoint",')


class Refused(NamedTuple):
    """Records of a chain that the sink does not take: some of those with these numbers.

    `hash` is that of the record, where there is one number; empty where the sink does not say which records it means.
    """

    writer: str
    first_seq: int
    last_seq: int
    hash: bytes
    cause: str


def gap_line(time_ns: int, lost: int, since_ns: int, refused: Refused | None = None) -> str:
    """So many records were lost since then; both times are Unix times. Without a line end.

    `refused` says which, where they were written and the sink did not take them.
    """
    text = f'{{"kind":"gap","time":"{timestamp(time_ns)}","lost":{lost},"since":"{timestamp(since_ns)}"'
    if refused is None:
        return text + "}"
    numbers = f'"writer":"{refused.writer}","first_seq":{refused.first_seq},"last_seq":{refused.last_seq}'
    digest = f',"hash":"{refused.hash.hex()}"' if refused.hash else ""
    return f'{text},"refused":{{{numbers}{digest},"cause":{_quoted(refused.cause)}}}}}'


def stub_line(time_ns: int, place: Link, cause: str) -> bytes:
    """What goes to the sink instead of a record that it does not take; with its line end.

    It has the record's place and hash, so that what comes after it can still be verified.
    """
    text = f'{{"kind":"refused","time":"{timestamp(time_ns)}","cause":{_quoted(cause)},"writer":"{place.writer}"'
    return f'{text},"seq":{place.seq},"hash":"{place.hash.hex()}"}}\n'.encode("ascii")


def _quoted(cause: str) -> str:
    return json.dumps(cause[:_MAX_CAUSE])


def checkpoint_line(time_ns: int, head: Link, key: Ed25519PrivateKey | None, *, closing: bool) -> str:
    """The chain stands at `head`, signed where there is a key. Without a line end."""
    moment = timestamp(time_ns)
    text = f'{{"kind":"checkpoint","time":"{moment}","head_seq":{head.seq},"head":"{head.hash.hex()}"'
    if closing:
        text += ',"closing":true'
    if key is None:
        return text + "}"
    signature = base64.b64encode(key.sign(_signed(head, moment, closing=closing))).decode()
    return f'{text},"key":"{key_name(key.public_key())}","signature":"{signature}"}}'


def vouches(key: Ed25519PublicKey, signature: str, head: Link, moment: str, *, closing: bool) -> bool:
    """Whether this signature of a checkpoint, in base64, is by this key."""
    try:
        key.verify(base64.b64decode(signature, validate=True), _signed(head, moment, closing=closing))
    except (InvalidSignature, ValueError):
        return False
    return True


def key_name(key: Ed25519PublicKey) -> str:
    """What checkpoints call a key: the beginning of the sha256 of its DER form."""
    form = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(form).hexdigest()[:16]


def _signed(head: Link, moment: str, *, closing: bool) -> bytes:
    word = "closing" if closing else "open"
    return "\n".join((_PURPOSE, head.writer, str(head.seq), head.hash.hex(), moment, word)).encode()
