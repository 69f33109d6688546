"""Reading a bundle from an archive, and writing one."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import threading
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pdp.bundle.archive import ArchiveReader, open_source, read_archive, write_archive
from pdp.bundle.source import (
    ATTEMPT_PAUSES_SECONDS,
    DirectoryReader,
    Source,
    SourceLimits,
    make_source,
    source_file,
)
from pdp.errors import BundleError

LIMITS = SourceLimits()
SMALL = SourceLimits(max_files=5, max_file_bytes=10_000, max_total_bytes=50_000, max_entries=20)
FAR_FUTURE_NS = 2**62
POLICY = ("policies/a.cedar", b"permit(principal, action, resource);")

Entry = tarfile.TarInfo | tuple[str, bytes]


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def tar(entries: Iterable[Entry], tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    """An uncompressed archive; a pair is a file with its content."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tar_format) as archive:
        for item in entries:
            if isinstance(item, tarfile.TarInfo):
                archive.addfile(item)
            else:
                archive.addfile(entry(item[0], size=len(item[1])), io.BytesIO(item[1]))
    return packed.getvalue()


def tgz(*entries: Entry, tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    return gzip.compress(tar(entries, tar_format))


def extended(kind: bytes, data: bytes) -> bytes:
    """A header of pax or GNU tar that says more about the next entry."""
    header = entry("header", kind, size=len(data)).tobuf(tarfile.USTAR_FORMAT)
    return header + data + bytes(-len(data) % 512)


def record(key: str, value: bytes) -> bytes:
    body = b" " + key.encode() + b"=" + value + b"\n"
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def refusal(archive: bytes, limits: SourceLimits = LIMITS) -> str:
    """Everything that is wrong with an archive."""
    with pytest.raises(BundleError) as caught:
        read_archive(archive, limits)
    return str(caught.value)


def contents(source: Source) -> dict[str, bytes]:
    return {path: file.content for path, file in source.files.items()}


def fill(root: Path) -> Path:
    for path in (
        "bundle.toml",
        "policies/deep/a.cedar",
        "policies/é.cedar",
        "policies/" + "long/" * 25 + "a.cedar",
        "tools/t.json",
        "interceptors/i.wasm",
        "tests/t.json",
        "policies/foo.ceder",
        "zzz/a",
        "zzz/b",
        ".git/config",
        "docs/x",
        "README.md",
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"content of {path}")
    return root


# The same bundle in another form


@pytest.mark.parametrize("prefix", ["", "./", "my-bundle-1.0/", "./my-bundle-1.0/"])
@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_archive_of_a_directory_is_the_same_bundle(tmp_path: Path, prefix: str, tar_format: int) -> None:
    """In every common format, with or without a top directory: same files, same warnings, same revision."""
    root = fill(tmp_path / "bundle")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=tar_format) as archive:
        archive.add(root, arcname=prefix or ".")
    unpacked, directory = read_archive(packed.getvalue(), LIMITS), DirectoryReader(root, LIMITS).read()
    assert dict(unpacked.files) == dict(directory.files)
    assert unpacked.warnings == directory.warnings
    assert unpacked.revision == directory.revision


def test_what_is_written_reads_back_equal(tmp_path: Path) -> None:
    """Writing a source and reading it again loses nothing, tests and long and foreign names included."""
    source = DirectoryReader(fill(tmp_path), LIMITS).read()
    written = io.BytesIO()
    write_archive(source, written)
    again = read_archive(written.getvalue(), LIMITS)
    assert dict(again.files) == dict(source.files)
    assert again.revision == source.revision


def test_equal_bundles_are_written_as_equal_bytes() -> None:
    """Neither the clock, nor the user, nor the order in which files were found shows in an archive."""
    files = [source_file("policies/b.cedar", b"b"), source_file("bundle.toml", b"a")]
    written = []
    for order in (files, files[::-1]):
        packed = io.BytesIO()
        write_archive(Source("somewhere", {file.path: file for file in order}, (), "r"), packed)
        written.append(packed.getvalue())
    assert written[0] == written[1]
    with tarfile.open(fileobj=io.BytesIO(written[0])) as archive:
        info = archive.getmembers()[0]
    assert (info.mtime, info.uid, info.gid, info.uname, info.gname) == (0, 0, 0, "", "")


@pytest.mark.parametrize("other", ["README", "other/x", "b.cedar"])
def test_a_top_directory_is_stripped_only_if_it_holds_everything(other: str) -> None:
    """A bundle beside something else is not searched for: what is at the top counts."""
    source = read_archive(tgz(("top/policies/a.cedar", b"a"), ("top/x/y", b"")), LIMITS)
    assert list(source.files) == ["policies/a.cedar"]
    if other == "README":
        return  # ignored, so the directory still holds everything that counts
    assert "holds no file of a bundle" in refusal(tgz(("top/policies/a.cedar", b"a"), (other, b"")))


def test_a_top_directory_without_a_bundle_is_not_stripped() -> None:
    """A directory with entities alone is not taken for a bundle."""
    assert "holds no file of a bundle" in refusal(tgz(("top/entities/a.json", b"a")))


def test_the_name_of_a_part_is_never_taken_for_a_top_directory() -> None:
    """An archive with nothing but policies is a bundle of policies, whatever their directories are called."""
    source = read_archive(tgz(("policies/policies/a.cedar", b"a")), LIMITS)
    assert list(source.files) == ["policies/policies/a.cedar"]


def test_hidden_files_beside_the_top_directory_do_not_matter() -> None:
    """The `._` files that one desktop's tar adds do not hide the bundle."""
    source = read_archive(tgz(("._top", b"x"), ("top/._policies", b"x"), ("top/policies/a.cedar", b"a")), LIMITS)
    assert list(source.files) == ["policies/a.cedar"]


def test_what_version_control_and_other_tars_add_is_read_over() -> None:
    """A commit id for all entries, times, owners and extended attributes change nothing."""
    data = extended(b"g", record("comment", b"0123")) + extended(
        b"x", record("mtime", b"1.5") + record("SCHILY.xattr.user.a", b"\xff") + record("path", b"bundle.toml")
    )
    source = read_archive(gzip.compress(data + tar([("overridden", b"x")])), LIMITS)
    assert contents(source) == {"bundle.toml": b"x"}


# Hostile entries


@pytest.mark.parametrize(
    "name",
    [
        "/etc/x.cedar",
        "../policies/x.cedar",
        "policies/../../x.cedar",
        "policies/../policies/b.cedar",
        "policies/./b.cedar",
        "policies//b.cedar",
        "././policies/b.cedar",
        "policies/b.cedar/",
        "..",
        ".",
        "",
    ],
)
def test_a_path_that_is_not_plain_is_refused(name: str) -> None:
    """Nothing is guessed about where `..`, `//`, an absolute path or a file named like a directory would lie."""
    archive = gzip.compress(extended(b"x", record("path", name.encode())) + tar([("x", b"x"), POLICY]))
    assert "is not a plain path" in refusal(archive)


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.CONTTYPE,
        tarfile.GNUTYPE_SPARSE,
        tarfile.SOLARIS_XHDTYPE,
        b"D",
        b"V",
        b"Z",
    ],
)
@pytest.mark.parametrize("path", ["policies/x.cedar", "docs/x"])
def test_anything_but_files_and_directories_is_refused(kind: bytes, path: str) -> None:
    """Links, devices, pipes, sparse files and unknown entries are errors wherever they lie, with their name."""
    message = refusal(tgz(POLICY, entry(path, kind, linkname="policies/a.cedar")))
    assert message.startswith(f"{path}: error: is a link or device")


def test_a_link_with_content_is_refused() -> None:
    """An entry that some readers take to have content and others not ends the reading."""
    data = tar([POLICY])[:1024] + entry("policies/b.cedar", tarfile.LNKTYPE, size=512, linkname="x").tobuf()
    assert "content in an entry that is not a file" in refusal(gzip.compress(data + bytes(2048)))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("policies/a.cedar", "policies/a.cedar"),
        ("policies/a.cedar", "./policies/a.cedar"),
        ("./bundle.toml", "bundle.toml"),
        ("docs/a", "docs/a"),
    ],
)
def test_two_entries_for_one_path_are_refused(one: str, two: str) -> None:
    """Which of two contents would count depends on the reader, so neither does, also where both are ignored."""
    assert "is in the archive twice" in refusal(tgz(POLICY, ("bundle.toml", b""), (one, b"1"), (two, b"2")))


@pytest.mark.parametrize("first", ["file", "directory"])
def test_a_path_that_is_a_file_and_a_directory_is_refused(first: str) -> None:
    """No path is both, in whichever order and whether the directory has an entry of its own or not."""
    pair: list[Entry] = [("policies/a", b""), ("policies/a/b.cedar", b"")]
    assert "both a file and a directory" in refusal(tgz(*(pair if first == "file" else pair[::-1])))
    with_entry: list[Entry] = [("policies/a", b""), entry("policies/a", tarfile.DIRTYPE)]
    assert "twice" in refusal(tgz(*(with_entry if first == "file" else with_entry[::-1])))


@pytest.mark.parametrize("name", [b"policies/\xff.cedar", b"policies/a\n.cedar", b"policies\\a.cedar", b"a\0b"])
@pytest.mark.parametrize("form", ["ustar", "pax", "gnu"])
def test_a_name_that_deceives_is_refused_in_every_form(name: bytes, form: str) -> None:
    """Not UTF-8, a control character or a backslash: an error in the header, in pax and in GNU long names alike."""
    if form == "ustar":
        header = entry("x" * len(name), size=0).tobuf(tarfile.USTAR_FORMAT).replace(b"x" * len(name), name, 1)
        total = sum(header[:148]) + sum(header[156:]) + 8 * 32
        data = header[:148] + b"%06o\0 " % total + header[156:] + tar([POLICY])
        if name == b"a\0b":
            assert list(read_archive(gzip.compress(data), LIMITS).files) == ["policies/a.cedar"]  # tar's own end
            return
    else:
        long = extended(b"x", record("path", name)) if form == "pax" else extended(b"L", name + b"\0")
        data = long + tar([("x", b""), POLICY])
    message = refusal(gzip.compress(data))
    assert "the name" in message
    assert message.isprintable() or message.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    "key", ["size", "linkpath", "GNU.sparse.major", "GNU.sparse.name", "SUN.holesdata", "SCHILY.realsize", "unheard.of"]
)
@pytest.mark.parametrize("kind", [b"x", b"g"])
def test_a_header_that_changes_what_an_entry_is_is_refused(key: str, kind: bytes) -> None:
    """Sparse maps, other sizes and everything not known to be harmless end the reading."""
    archive = gzip.compress(extended(kind, record(key, b"1")) + tar([POLICY]))
    assert f"has an entry with `{key}`" in refusal(archive)


@pytest.mark.parametrize(
    "data",
    [
        b"5 a=\n",
        b"99 a=b\n",
        b"a=b\n",
        b"06 a=b\n",
        b"-6 a=b\n",
        b"6 a=bc",
        b"3 a\n",
        b"0 a=b\n",
        b"6 a=b\n\0",
    ],
)
def test_a_damaged_extended_header_is_refused(data: bytes) -> None:
    """Records whose lengths do not fit end the reading, and never loop or raise anything else."""
    assert "error: `archive` has" in refusal(gzip.compress(extended(b"x", data) + tar([POLICY])))


def test_contradicting_names_are_refused() -> None:
    """One entry is not named twice, no header names all entries, and no name is left without an entry."""
    pax, gnu = extended(b"x", record("path", b"a")), extended(b"L", b"b\0")
    everything = extended(b"g", record("path", b"policies/a.cedar"))
    assert "says twice" in refusal(gzip.compress(pax + gnu + tar([POLICY])))
    assert "names all its entries" in refusal(gzip.compress(everything + tar([POLICY])))
    assert "that does not follow" in refusal(gzip.compress(tar([POLICY])[:1024] + pax + bytes(1024)))


@pytest.mark.parametrize(
    "size", [b"-0000000001\0", b"+0000000001\0", b"0o000000001\0", b"\x80" + bytes(11), b"\xff" * 12]
)
def test_a_size_that_is_not_plain_octal_is_refused(size: bytes) -> None:
    """Signs, prefixes and binary numbers, which readers understand differently, end the reading."""
    header = entry("policies/b.cedar").tobuf(tarfile.USTAR_FORMAT)
    header = header[:124] + size + header[136:]
    total = sum(header[:148]) + sum(header[156:]) + 8 * 32
    data = header[:148] + b"%06o\0 " % total + header[156:]
    assert "not understood" in refusal(gzip.compress(data + tar([POLICY])))


def test_what_gnu_tar_keeps_in_the_place_of_a_longer_name_is_not_taken_for_one() -> None:
    """An incremental archive, with times where others have the beginning of the name, ends the reading."""
    header = bytearray(entry("policies/b.cedar").tobuf(tarfile.GNU_FORMAT))
    header[345:357] = b"13512345670\0"
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * 32)
    assert "not understood" in refusal(gzip.compress(bytes(header) + tar([POLICY])))


# Bombs


def test_a_bomb_is_refused_before_it_unpacks() -> None:
    """A gigabyte in a megabyte costs next to no memory, in a file, in a name and after the end."""
    zeros = 1 << 30
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as stream:
        stream.write(entry("policies/a.cedar", size=zeros - 1).tobuf())
        for _ in range(16):
            stream.write(bytes(1 << 20))
    limits = SourceLimits(max_file_bytes=zeros, max_total_bytes=1 << 20)
    tracemalloc.start()
    assert "unpacks to more than 1048576 bytes" in refusal(packed.getvalue(), limits)
    name = gzip.compress(extended(b"x", record("path", b"a" * 1_000_000)) + tar([POLICY]))
    assert "has an extended header of" in refusal(name)
    tail = gzip.compress(tar([POLICY]) + bytes(4 << 20))
    assert "data after its end" in refusal(tail)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 << 20


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([(f"policies/{n}.cedar", b"") for n in range(6)], "6 files; a bundle may hold 5"),
        ([(f"docs/{n}", b"") for n in range(21)], "holds more than 20 entries"),
        ([(f"docs/{n}", bytes(9_000)) for n in range(6)], "unpacks to more than 50000 bytes"),
        ([("docs/a", bytes(10_001))], "a file of 10001 bytes, `docs/a`; it may be 10000"),
    ],
)
def test_the_limits_hold_for_everything_in_the_archive(entries: list[Entry], message: str) -> None:
    """Files, entries, bytes of a file and bytes in all are limited, also for what is not loaded."""
    assert message in refusal(tgz(*entries), SMALL)
    assert list(read_archive(tgz(POLICY), SMALL).files) == ["policies/a.cedar"]


def test_headers_count_as_entries() -> None:
    """Endless headers that announce no file end at the limit of entries."""
    assert "more than 20 entries" in refusal(gzip.compress(extended(b"g", record("comment", b"a")) * 30), SMALL)


def test_a_header_of_endless_records_is_refused() -> None:
    """As many records as anybody writes are read, and not one more."""
    for count in (64, 65):
        archive = gzip.compress(extended(b"x", record("comment", b"a") * count) + tar([POLICY]))
        if count == 64:
            assert list(read_archive(archive, LIMITS).files) == [POLICY[0]]
        else:
            assert "more than 64 records" in refusal(archive)


def test_endless_empty_gzip_members_are_not_waited_for() -> None:
    """A file far larger than anything it may unpack to is refused by its size alone."""
    empty = gzip.compress(b"")
    assert "bytes; it may be" in refusal(empty * (1_200_000 // len(empty)), SMALL)


# Damage


def test_every_truncation_is_refused() -> None:
    """An archive cut off anywhere, packed or unpacked, never loads as a smaller bundle."""
    plain = tar([POLICY, ("policies/b.cedar", b"forbid(principal, action, resource);")])
    packed = gzip.compress(plain)
    for length in range(len(packed)):
        refusal(packed[:length])
    for length in range(0, 2048, 256):
        assert "ends too early" in refusal(gzip.compress(plain[:length]))


@pytest.mark.parametrize(
    "tail", [b"x", tar([("policies/b.cedar", b"")]), bytes(512) + tar([("policies/b.cedar", b"")])]
)
def test_nothing_may_follow_the_end(tail: bytes) -> None:
    """A second archive after the first, which some readers would find, is refused, in either layer of packing."""
    assert "data after its end" in refusal(gzip.compress(tar([POLICY]) + tail))
    assert "data after its end" in refusal(gzip.compress(tar([POLICY])) + gzip.compress(tail))
    assert "is damaged" in refusal(gzip.compress(tar([POLICY])) + b"garbage")


def test_what_is_not_an_archive_is_refused() -> None:
    """Nothing, text, an unpacked tar, a packed text and a tar from before ustar are all errors that say so."""
    assert "ends too early" in refusal(b"")
    assert "is damaged" in refusal(b"hello")
    assert "is damaged" in refusal(tar([POLICY]))
    assert "ends too early" in refusal(gzip.compress(b"hello"))
    assert "is damaged" in refusal(gzip.compress(b"hello" * 1000))
    old = bytearray(entry("policies/a.cedar").tobuf(tarfile.USTAR_FORMAT))
    old[257:265] = bytes(8)
    old[148:156] = b"%06o\0 " % (sum(old[:148]) + sum(old[156:]) + 8 * 32)
    assert "not in the ustar, pax or GNU format" in refusal(gzip.compress(bytes(old) + bytes(1024)))


SEED = tar([entry("policies", tarfile.DIRTYPE), POLICY, ("policies/" + "é" * 120, b"x"), ("bundle.toml", b"a" * 600)])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.binary(min_size=1, max_size=12)), max_size=6))
@example([])
def test_a_mutated_archive_loads_or_is_refused(changes: list[tuple[int, bytes]]) -> None:
    """Whatever bytes stand where, reading gives a source or a bundle error, and no other exception."""
    data = bytearray(SEED)
    for start, changed in changes:
        data[start : start + len(changed)] = changed
    for offset in range(0, len(data) - 511, 512):
        header = data[offset : offset + 512]
        if header[257:262] == b"ustar":  # a right checksum, so that the rest of the header is reached
            total = sum(header[:148]) + sum(header[156:]) + 8 * 32
            data[offset + 148 : offset + 156] = b"%06o\0 " % total
    try:
        source = read_archive(gzip.compress(bytes(data), 1), SMALL)
    except BundleError:
        return
    assert source.files


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=8))
def test_a_mutated_packing_loads_or_is_refused(start: int, changed: bytes) -> None:
    """Damage to the compressed bytes is found, or does no harm: no other content ever loads."""
    data = bytearray(gzip.compress(SEED, mtime=0))
    start %= len(data)
    data[start : start + len(changed)] = changed
    try:
        source = read_archive(bytes(data), SMALL)
    except BundleError:
        return
    assert dict(source.files) == dict(read_archive(gzip.compress(SEED), SMALL).files)


# From a file


def save(path: Path, *entries: Entry) -> Path:
    path.write_bytes(tgz(*entries))
    return path


def test_an_unchanged_archive_is_not_unpacked_again(tmp_path: Path) -> None:
    """The second read hands out what the first did, and a change is seen and shares the rest."""
    path = save(tmp_path / "bundle.tgz", POLICY, ("bundle.toml", b"one"))
    reader = ArchiveReader(path, LIMITS, now_ns=lambda: FAR_FUTURE_NS)
    first = reader.read()
    second = reader.read(first)
    assert second is first
    save(path, POLICY, ("bundle.toml", b"two"))
    third = reader.read(second)
    assert contents(third)["bundle.toml"] == b"two"
    assert third.files[POLICY[0]] is first.files[POLICY[0]]


def test_an_archive_that_just_changed_is_unpacked_again(tmp_path: Path) -> None:
    """Times that may not tell two writes apart are not trusted."""
    path = save(tmp_path / "bundle.tgz", POLICY)
    changed_ns = path.stat().st_ctime_ns
    reader = ArchiveReader(path, LIMITS, now_ns=lambda: changed_ns + 1_000_000)
    first = reader.read()
    other = make_source("other", [source_file("bundle.toml", b"x")], ())
    again = reader.read(first)
    assert again is not first
    assert again.files[POLICY[0]] is first.files[POLICY[0]]
    assert contents(reader.read(other)) == dict([POLICY])


def test_a_previous_source_of_another_content_is_never_handed_out(tmp_path: Path) -> None:
    """The content is that of the file, whatever the caller says it had before, tests included."""
    path = save(tmp_path / "bundle.tgz", POLICY, ("tests/a", b"old"))
    reader = ArchiveReader(path, LIMITS, now_ns=lambda: FAR_FUTURE_NS)
    old = reader.read()
    save(path, POLICY, ("tests/a", b"new"))
    assert contents(reader.read(old))["tests/a"] == b"new"
    assert contents(reader.read(old))["tests/a"] == b"new"


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    """A missing archive, a pipe and a device are errors that name the path."""
    os.mkfifo(tmp_path / "pipe.tgz")
    found: list[str] = []

    def attempt() -> None:
        for path in (tmp_path / "pipe.tgz", tmp_path / "none.tgz", Path("/dev/zero"), tmp_path / "a\0.tgz"):
            with pytest.raises(BundleError) as caught:
                read_archive(path, LIMITS)
            found.append(str(caught.value))

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(30)
    assert [message.split(":")[-1].strip() for message in found[:3]] == [
        "not a regular file",
        "no such file or directory",
        "not a regular file",
    ]
    assert "embedded null" in found[3]


def test_an_archive_that_never_holds_still_is_an_error(tmp_path: Path) -> None:
    """An archive touched during every attempt ends in an error that says so, a damaged one too."""
    path = save(tmp_path / "bundle.tgz", POLICY)
    clock = iter(range(100))

    def touch() -> int:  # the time is asked for while the archive is open
        os.utime(path, ns=(0, next(clock)))
        return FAR_FUTURE_NS

    pauses: list[float] = []
    reader = ArchiveReader(path, LIMITS, pause=pauses.append, now_ns=touch)
    with pytest.raises(BundleError, match="keeps changing"):
        reader.read()
    path.write_bytes(b"half of an arch")
    with pytest.raises(BundleError, match="keeps changing"):
        reader.read()
    assert pauses == [seconds for seconds in ATTEMPT_PAUSES_SECONDS if seconds] * 2


def test_an_archive_that_changes_once_is_read_as_it_is_then(tmp_path: Path) -> None:
    """An archive that is being written when it is opened is read again, and loads once it is whole."""
    path = tmp_path / "bundle.tgz"
    path.write_bytes(b"half of an arch")

    def finish() -> int:
        if path.stat().st_size < 100:
            save(path, POLICY)
        return FAR_FUTURE_NS

    reader = ArchiveReader(path, LIMITS, pause=lambda _: None, now_ns=finish)
    assert contents(reader.read()) == dict([POLICY])


def test_the_reader_fits_what_is_there(tmp_path: Path) -> None:
    """A directory, an archive by its name, and either of them before it exists each get the right reader."""
    save(tmp_path / "a.tar.gz", POLICY)
    (tmp_path / "dir.tgz").mkdir()
    kinds = {name: type(open_source(tmp_path / name, LIMITS)) for name in ("a.tar.gz", "later.tgz", "dir.tgz", "later")}
    assert kinds == {
        "a.tar.gz": ArchiveReader,
        "later.tgz": ArchiveReader,
        "dir.tgz": DirectoryReader,
        "later": DirectoryReader,
    }
    assert open_source(tmp_path / "a.tar.gz", LIMITS).watch_paths == (tmp_path / "a.tar.gz",)
    assert open_source(tmp_path / "later", LIMITS).watch_paths == (tmp_path / "later",)
