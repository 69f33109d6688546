"""Reading a bundle from a directory."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.bundle.layout import is_ignored, name_problem, place_problem, printable
from pdp.bundle.source import (
    ATTEMPT_PAUSES_SECONDS,
    DirectoryReader,
    Source,
    SourceLimits,
    read_up_to,
    revision_of,
    source_file,
)
from pdp.errors import BundleError

LIMITS = SourceLimits()
FAR_FUTURE_NS = 2**62  # long after every file was written, so that every signature is trusted
PERMIT = "permit(principal, action, resource);"


def write(root: Path, **files: str) -> None:
    """Write files whose names are given with `__` for `/` and `_dot_` for `.`."""
    for name, content in files.items():
        put(root, name.replace("__", "/").replace("_dot_", "."), content)


def put(root: Path, path: str, content: str = "x") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


def read(root: Path, limits: SourceLimits = LIMITS) -> Source:
    return DirectoryReader(root, limits, pause=lambda _: None).read()


def errors(root: Path, limits: SourceLimits = LIMITS) -> dict[str, str]:
    """Path -> message of the errors with which the tree does not load."""
    with pytest.raises(BundleError) as caught:
        read(root, limits)
    return {problem.path: problem.message for problem in caught.value.problems if problem.severity == "error"}


class Reads:
    """Reads like the real thing, records how much was asked for, and first does what a test wants to happen."""

    def __init__(self, *actions: Callable[[], object]) -> None:
        self.sizes: list[int] = []
        self._actions = list(actions)

    def __call__(self, descriptor: int, size: int) -> bytes:
        self.sizes.append(size)
        if self._actions:
            self._actions.pop(0)()
        return read_up_to(descriptor, size)


def contents(source: Source) -> dict[str, str]:
    return {path: file.content.decode() for path, file in source.files.items()}


# What belongs to a bundle


def test_reads_every_kind_of_file_a_bundle_has(tmp_path: Path) -> None:
    """Every documented place is read, sorted by path, with the sha256 of its content."""
    paths = [
        "bundle.toml",
        "entities/deep/er/a.json",
        "interceptors/a.wasm",
        "policies/a.cedar",
        "policies/deep/b.links.json",
        "schema.cedarschema",
        "tests/anything/at.all",
        "tools/github.json",
    ]
    for path in paths:
        put(tmp_path, path, f"content of {path}")
    source = read(tmp_path)
    assert list(source.files) == paths
    assert source.warnings == ()
    assert source.origin == str(tmp_path)
    file = source.files["tools/github.json"]
    assert (file.path, file.content) == ("tools/github.json", b"content of tools/github.json")
    assert file.digest == hashlib.sha256(file.content).hexdigest()


def test_passes_over_hidden_files_editor_droppings_and_documents_without_a_word(tmp_path: Path) -> None:
    """What editors, version control and people leave beside a bundle neither loads nor warns."""
    put(tmp_path, "policies/a.cedar")
    for path in (
        ".git/config",
        "policies/.hidden/x.cedar",
        "policies/.#a.cedar",
        "policies/a.cedar~",
        "policies/.a.cedar.swp",
        "policies/b.cedar.swp",
        "entities/a.json.tmp",
        "README.md",
        "LICENSE",
        "NOTICE.txt",
        "docs/guide.md",
    ):
        put(tmp_path, path)
    source = read(tmp_path)
    assert list(source.files) == ["policies/a.cedar"]
    assert source.warnings == ()


@pytest.mark.parametrize(
    ("path", "named", "hint"),
    [
        ("policies/foo.ceder", "policies/foo.ceder", "`.cedar`"),
        ("policies/foo.CEDAR", "policies/foo.CEDAR", "`.cedar`"),
        ("policies/foo.json", "policies/foo.json", "`.links.json`"),
        ("entities/a.yaml", "entities/a.yaml", "`.json`"),
        ("tools/sub/x.json", "tools/sub/x.json", "`tools/` itself"),
        ("interceptors/sub/x.wasm", "interceptors/sub/x.wasm", "`interceptors/` itself"),
        ("polices/a.cedar", "polices", "did you mean `policies`?"),
        ("bundle.tml", "bundle.tml", "did you mean `bundle.toml`?"),
        ("zzz/a", "zzz", "a bundle holds `bundle.toml`"),
    ],
)
def test_warns_of_what_it_leaves_out(tmp_path: Path, path: str, named: str, hint: str) -> None:
    """A file that no bundle has is not loaded, and a warning names it and says what it should be."""
    put(tmp_path, "bundle.toml")
    put(tmp_path, path)
    source = read(tmp_path)
    assert list(source.files) == ["bundle.toml"]
    (warning,) = source.warnings
    assert (warning.path, warning.severity, warning.line) == (named, "warning", 0)
    assert hint in warning.message


def test_refuses_a_file_in_the_place_of_a_directory_and_the_reverse(tmp_path: Path) -> None:
    """Policies or a schema that cannot be found because of the kind of thing they are never load as if absent."""
    put(tmp_path, "policies")
    put(tmp_path, "schema.cedarschema/a")
    put(tmp_path, "entities/a.json")
    assert set(errors(tmp_path)) == {"policies", "schema.cedarschema"}


@pytest.mark.parametrize("others", [(), ("tests/a.json", "zzz")])
def test_refuses_a_directory_with_nothing_to_load(tmp_path: Path, others: tuple[str, ...]) -> None:
    """A mount that is not there yet is an error, and never a bundle without policies."""
    for path in others:
        put(tmp_path, path)
    assert "holds no file of a bundle" in errors(tmp_path)["."]


@pytest.mark.parametrize(
    "name", [b"a\xff.cedar", b"a\n.cedar", b"a\x1b[2J.cedar", "a\u202e.cedar".encode(), b"a\\b.cedar", b"a\x7f.cedar"]
)
def test_refuses_names_that_deceive_or_cannot_be_shown(tmp_path: Path, name: bytes) -> None:
    """A name that is not UTF-8, or acts on the terminal that shows it, is an error that shows it harmlessly."""
    put(tmp_path, "bundle.toml")
    (tmp_path / "policies").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "policies") + b"/" + name)).write_text("x")
    ((path, message),) = errors(tmp_path).items()
    assert path.startswith("policies/a")
    assert path.isprintable()
    assert message.startswith("the name")


@given(st.text(alphabet=st.characters(codec=None), max_size=30))
def test_judges_every_name_without_failing(name: str) -> None:
    """No text whatsoever makes the rules of names raise, and every problem they find is safe to print."""
    is_ignored(name)
    assert printable(name).isprintable()
    for problem in (name_problem(name), place_problem(name) if name_problem(name) is None else None):
        shown = "" if problem is None else problem.path
        assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cs", "Zl", "Zp"}
        assert not {unicodedata.bidirectional(char) for char in shown} & {"LRO", "RLO", "LRE", "RLE", "RLI", "LRI"}


# The revision


def test_the_revision_is_the_documented_listing(tmp_path: Path) -> None:
    """The revision is the sha256 of the format's name and of one `<digest>  <path>` line for each loaded file."""
    write(tmp_path, bundle_dot_toml="b", policies__z_dot_cedar="z", policies__é_dot_cedar="e", tests__t="t")
    lines = "pdp-bundle-revision-v1\n"
    for path, content in (("bundle.toml", b"b"), ("policies/z.cedar", b"z"), ("policies/é.cedar", b"e")):
        lines += f"{hashlib.sha256(content).hexdigest()}  {path}\n"
    assert read(tmp_path).revision == hashlib.sha256(lines.encode()).hexdigest()


def test_the_revision_of_a_known_bundle_never_changes() -> None:
    """The same content has the same revision in every version of this service."""
    files = [source_file("policies/a.cedar", PERMIT.encode()), source_file("bundle.toml", b'name = "a"\n')]
    assert revision_of(files) == "e6642d6a2ef2e3c8100220c0405939728e006d15d02bc82f7025b6cc76c4c9e4"


def test_tests_can_be_read_and_do_not_count_for_the_revision(tmp_path: Path) -> None:
    """Changing a bundle's tests does not make it another bundle for the service."""
    write(tmp_path, bundle_dot_toml="b", tests__a="1")
    before = read(tmp_path)
    write(tmp_path, tests__a="2", tests__b="3")
    after = read(tmp_path)
    assert (before.revision, contents(after)["tests/a"]) == (after.revision, "2")


def test_content_and_place_both_count_for_the_revision(tmp_path: Path) -> None:
    """Two bundles that differ in a byte, or in a name, have different revisions."""
    revisions = set()
    for path, content in (("a.cedar", "1"), ("a.cedar", "2"), ("b.cedar", "1"), ("a/b.cedar", "1")):
        shutil.rmtree(tmp_path / "policies", ignore_errors=True)
        put(tmp_path, f"policies/{path}", content)
        revisions.add(read(tmp_path).revision)
    assert len(revisions) == 4


# Reading only what changed


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    """The second read opens only the file that changed, and hands out the same object for the other."""
    write(tmp_path, policies__a_dot_cedar="a", policies__b_dot_cedar="b")
    reads = Reads()
    reader = DirectoryReader(tmp_path, LIMITS, now_ns=lambda: FAR_FUTURE_NS, read_bytes=reads)
    first = reader.read()
    put(tmp_path, "policies/b.cedar", "changed")
    second = reader.read(first)
    assert len(reads.sizes) == 3
    assert second.files["policies/a.cedar"] is first.files["policies/a.cedar"]
    assert contents(second) == {"policies/a.cedar": "a", "policies/b.cedar": "changed"}
    assert second.revision != first.revision


def test_a_previous_source_that_is_not_the_last_one_is_not_trusted(tmp_path: Path) -> None:
    """A file that changed twice is right even if the caller hands over the source from before both changes."""
    put(tmp_path, "policies/a.cedar", "one")
    reader = DirectoryReader(tmp_path, LIMITS, now_ns=lambda: FAR_FUTURE_NS)
    first = reader.read()
    put(tmp_path, "policies/a.cedar", "two")
    reader.read(first)
    assert contents(reader.read(first)) == {"policies/a.cedar": "two"}


def test_a_file_that_just_changed_is_read_again(tmp_path: Path) -> None:
    """A file changed within the steps of the file system's clock is read again, as its times may not tell."""
    file = put(tmp_path, "policies/a.cedar", "one")
    reads = Reads()
    now_ns = file.stat().st_ctime_ns + 1_000_000
    reader = DirectoryReader(tmp_path, LIMITS, now_ns=lambda: now_ns, read_bytes=reads)
    reader.read(reader.read())
    assert len(reads.sizes) == 2


def test_a_removed_file_is_gone_from_the_next_source(tmp_path: Path) -> None:
    """Nothing of a previous source survives its removal from the tree."""
    write(tmp_path, policies__a_dot_cedar="a", policies__b_dot_cedar="b")
    reader = DirectoryReader(tmp_path, LIMITS, now_ns=lambda: FAR_FUTURE_NS)
    first = reader.read()
    (tmp_path / "policies/a.cedar").unlink()
    assert list(reader.read(first).files) == ["policies/b.cedar"]


# Reading while something changes


@pytest.mark.parametrize("earlier_reads", [0, 1])
def test_a_change_while_reading_never_mixes_two_states(tmp_path: Path, earlier_reads: int) -> None:
    """Files that change together while the first or the second of them is read are both read as they are then."""
    write(tmp_path, policies__a_dot_cedar="old", policies__b_dot_cedar="old")

    def change() -> None:
        write(tmp_path, policies__a_dot_cedar="new", policies__b_dot_cedar="new")

    reads = Reads(*[lambda: None] * earlier_reads, change)
    reader = DirectoryReader(tmp_path, LIMITS, pause=lambda _: None, read_bytes=reads)
    assert set(contents(reader.read()).values()) == {"new"}


def test_a_file_of_which_only_a_part_can_be_read_does_not_load(tmp_path: Path) -> None:
    """Where the file system hands out less than it says there is, no truncated policy is loaded."""
    put(tmp_path, "policies/a.cedar", "forbid(principal, action, resource);")
    reader = DirectoryReader(tmp_path, LIMITS, pause=lambda _: None, read_bytes=lambda fd, _: os.read(fd, 10))
    with pytest.raises(BundleError):
        reader.read()


def test_a_file_that_vanishes_while_reading_is_looked_for_again(tmp_path: Path) -> None:
    """A file removed between the look at the tree and its opening is simply not part of the source."""
    write(tmp_path, policies__a_dot_cedar="a", policies__b_dot_cedar="b")
    reads = Reads((tmp_path / "policies/b.cedar").unlink)
    reader = DirectoryReader(tmp_path, LIMITS, pause=lambda _: None, read_bytes=reads)
    assert contents(reader.read()) == {"policies/a.cedar": "a"}


def test_a_tree_that_never_holds_still_is_an_error_after_a_bounded_time(tmp_path: Path) -> None:
    """Endless change ends in an error that says so, after pausing less than a second in all."""
    file = put(tmp_path, "policies/a.cedar", "")
    pauses: list[float] = []

    def grow(descriptor: int, size: int) -> bytes:
        with file.open("a") as stream:
            stream.write("x")
        return read_up_to(descriptor, size)

    reader = DirectoryReader(tmp_path, LIMITS, pause=pauses.append, read_bytes=grow)
    with pytest.raises(BundleError, match="keeps changing"):
        reader.read()
    assert pauses == [seconds for seconds in ATTEMPT_PAUSES_SECONDS if seconds]
    assert sum(pauses) < 1


def test_a_file_that_grows_is_not_followed(tmp_path: Path) -> None:
    """However much is appended while a file is read, no more than one byte over its known size is asked for."""
    file = put(tmp_path, "policies/a.cedar", "abc")
    reads = Reads(lambda: file.write_text("x" * 1_000_000))
    limits = SourceLimits(max_file_bytes=10)
    with pytest.raises(BundleError, match="a file may be 10"):
        DirectoryReader(tmp_path, limits, pause=lambda _: None, read_bytes=reads).read()
    assert reads.sizes == [4]


# What cannot be read


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    """A path at which there is nothing is an error that shows the path."""
    assert errors(tmp_path / "nowhere") == {".": f"`{tmp_path}/nowhere` cannot be read: no such file or directory"}


def test_a_file_instead_of_a_directory_is_named(tmp_path: Path) -> None:
    """A file that is neither a directory nor named like an archive is an error that says what it should be."""
    message = errors(put(tmp_path, "bundle.zip"))["."]
    assert "is not a directory" in message
    assert ".tar.gz" in message


def test_a_path_that_no_file_can_have_is_an_error(tmp_path: Path) -> None:
    """A path the operating system refuses to look at raises no foreign exception."""
    assert "cannot be read" in errors(tmp_path / "a\0b")["."]


@contextmanager
def without_privileges() -> Iterator[Path]:
    """A directory, and the rights of a user whom the modes of its files bind."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(root, 65534, -1)
        os.seteuid(65534)
    try:
        yield root
    finally:
        if is_root:
            os.seteuid(0)
        shutil.rmtree(root)


def test_every_file_and_directory_without_permission_is_named() -> None:
    """Files and directories that may not be read are all reported, and none is left out in silence."""
    with without_privileges() as root:
        put(root, "bundle.toml")
        put(root, "policies/a.cedar").chmod(0)
        put(root, "policies/b.cedar").chmod(0)
        found = errors(root)
        assert found == dict.fromkeys(("policies/a.cedar", "policies/b.cedar"), "cannot be read: permission denied")
        put(root, "entities/a.json").parent.chmod(0)
        assert errors(root)["entities/"] == "cannot be read: permission denied"
        (root / "entities").chmod(0o700)


def test_an_error_of_the_disk_is_translated(tmp_path: Path) -> None:
    """A read that fails in the device is a problem of that file, not a foreign exception."""
    put(tmp_path, "policies/a.cedar")

    def fail(descriptor: int, size: int) -> bytes:
        raise OSError(5, "Input/output error")

    with pytest.raises(BundleError, match=r"policies/a\.cedar: error: cannot be read: input/output error"):
        DirectoryReader(tmp_path, LIMITS, read_bytes=fail).read()


# Links and special files


@pytest.mark.parametrize("linked", ["policies", "policies/x.cedar"])
def test_a_mounted_config_map_is_read(tmp_path: Path, linked: str) -> None:
    """A Kubernetes mount loads through `..data`, whether it links directories or files, and follows its swap."""
    for name, content in (("..2024_01", "one"), ("..2024_02", "two")):
        put(tmp_path, f"{name}/{linked}/x.cedar" if linked == "policies" else f"{name}/x.cedar", content)
    (tmp_path / "..data").symlink_to("..2024_01")
    if linked == "policies":
        (tmp_path / "policies").symlink_to("..data/policies")
    else:
        (tmp_path / "policies").mkdir()
        (tmp_path / "policies/x.cedar").symlink_to("../..data/x.cedar")
    reader = DirectoryReader(tmp_path, LIMITS, now_ns=lambda: FAR_FUTURE_NS)
    first = reader.read()
    assert (contents(first), first.warnings) == ({"policies/x.cedar": "one"}, ())
    (tmp_path / "..data_tmp").symlink_to("..2024_02")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    shutil.rmtree(tmp_path / "..2024_01")
    assert contents(reader.read(first)) == {"policies/x.cedar": "two"}


def test_the_bundle_itself_may_be_a_link(tmp_path: Path) -> None:
    """A release that is switched by pointing a link elsewhere is read where the link leads."""
    put(tmp_path, "releases/1/policies/a.cedar", "one")
    put(tmp_path, "releases/2/policies/a.cedar", "two")
    current = tmp_path / "current"
    current.symlink_to("releases/1")
    reader = DirectoryReader(current, LIMITS, now_ns=lambda: FAR_FUTURE_NS)
    first = reader.read()
    current.unlink()
    current.symlink_to("releases/2")
    assert contents(first) | contents(reader.read(first)) == {"policies/a.cedar": "two"}


@pytest.mark.parametrize("target", ["../../secret", "ABSOLUTE", "../policies2/out.cedar"])
def test_a_link_out_of_the_bundle_is_refused(tmp_path: Path, target: str) -> None:
    """No link, relative, absolute or by way of another link, makes the service read a file outside the bundle."""
    secret = put(tmp_path, "secret", "s3cret")
    root = tmp_path / "bundle"
    put(root, "policies/ok.cedar")
    (root / "policies2").symlink_to("..")
    (tmp_path / "out.cedar").symlink_to(secret)
    link = root / "policies/x.cedar"
    link.symlink_to(secret if target == "ABSOLUTE" else target)
    found = errors(root)
    assert "leads out of the bundle" in found["policies/x.cedar"]
    assert "s3cret" not in str(found)


def test_a_sibling_whose_name_begins_like_the_bundle_is_outside(tmp_path: Path) -> None:
    """`/srv/bundle-old` is not inside `/srv/bundle`, although its path begins the same."""
    put(tmp_path, "bundle-old/a.cedar")
    put(tmp_path, "bundle/bundle.toml")
    (tmp_path / "bundle/policies").symlink_to("../bundle-old")
    assert "leads out" in errors(tmp_path / "bundle")["policies"]


@pytest.mark.parametrize("target", ["nowhere", "loop.cedar", ".", "..", "../policies"])
def test_links_that_lead_nowhere_or_round_in_circles_are_refused(tmp_path: Path, target: str) -> None:
    """A dangling link, a link to itself and a link to a directory above it are errors, and reading ends."""
    put(tmp_path, "policies/a.cedar")
    (tmp_path / "policies/loop.cedar").symlink_to(target)
    assert [path.rstrip("/") for path in errors(tmp_path)] == ["policies/loop.cedar"]


def test_links_that_multiply_the_tree_end_at_the_limit_of_entries(tmp_path: Path) -> None:
    """Thirty directories, each linked twice from the one before, do not make a billion."""
    put(tmp_path, "policies/a.cedar")
    for level in range(30):
        (tmp_path / f"policies/d{level}").mkdir()
        for side in "lr":
            (tmp_path / f"policies/d{level}/{side}").symlink_to(f"../d{level + 1}")
    put(tmp_path, "policies/d30/a.cedar")
    assert "more than 1000 names" in errors(tmp_path, SourceLimits(max_entries=1000))["."]


@pytest.mark.parametrize("swapped", ["policies/b.cedar", "policies"])
def test_a_link_swapped_in_after_the_look_is_not_followed(tmp_path: Path, swapped: str) -> None:
    """Replacing a file or its directory by a link outside, between check and opening, does not read what is there."""
    put(tmp_path, "outside/b.cedar", "s3cret")
    root = tmp_path / "bundle"
    write(root, entities__a_dot_json="a", policies__b_dot_cedar="public")

    def swap() -> None:
        (root / swapped).rename(root / ".moved")
        (root / swapped).symlink_to(tmp_path / ("outside" if swapped == "policies" else "outside/b.cedar"))

    reads = Reads(swap)
    with pytest.raises(BundleError, match="leads out of the bundle"):
        DirectoryReader(root, LIMITS, pause=lambda _: None, read_bytes=reads).read()
    assert reads.sizes == [2]


def in_time(action: Callable[[], object]) -> None:
    """Run something that may block for ever, and fail instead."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "still blocked"


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    """A named pipe among the policies, at once or swapped in while reading, is an error and blocks nothing."""
    write(tmp_path, policies__a_dot_cedar="a", policies__b_dot_cedar="b")

    def swap() -> None:
        (tmp_path / "policies/b.cedar").unlink()
        os.mkfifo(tmp_path / "policies/b.cedar")

    reader = DirectoryReader(tmp_path, LIMITS, pause=lambda _: None, read_bytes=Reads(swap))
    found: list[BundleError] = []

    def attempt() -> None:
        for _ in range(2):
            with pytest.raises(BundleError) as caught:
                reader.read()
            found.append(caught.value)

    in_time(attempt)
    assert [error.problems[0].message for error in found] == ["is a device, pipe or socket, and must be a file"] * 2


# Limits


def test_a_bundle_exactly_at_its_limits_loads(tmp_path: Path) -> None:
    """Two files of four bytes load when two files, four bytes each and eight in all are allowed."""
    write(tmp_path, policies__a_dot_cedar="aaaa", policies__b_dot_cedar="bbbb")
    assert len(read(tmp_path, SourceLimits(2, 4, 8)).files) == 2


@pytest.mark.parametrize(
    ("limits", "path"),
    [(SourceLimits(1, 4, 8), "."), (SourceLimits(2, 3, 8), "policies/a.cedar"), (SourceLimits(2, 4, 7), ".")],
)
def test_a_bundle_over_a_limit_is_refused_unread(tmp_path: Path, limits: SourceLimits, path: str) -> None:
    """One file, one byte in a file, or one byte in all too many is an error before anything is read."""
    write(tmp_path, policies__a_dot_cedar="aaaa", policies__b_dot_cedar="bbbb")
    reads = Reads()
    with pytest.raises(BundleError) as caught:
        DirectoryReader(tmp_path, limits, read_bytes=reads).read()
    assert path in [problem.path for problem in caught.value.problems]
    assert reads.sizes == []


def test_a_tree_too_deep_is_refused(tmp_path: Path) -> None:
    """Directories nested without end are an error and not a crash."""
    put(tmp_path, "policies/" + "d/" * 40 + "a.cedar")
    assert any("names" in message for message in errors(tmp_path).values())


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    """One read names every bad link, name and place, with the warnings among them."""
    put(tmp_path, "bundle.toml/x")
    put(tmp_path, "policies/a\n.cedar")
    put(tmp_path, "policies/foo.ceder")
    (tmp_path / "policies/link.cedar").symlink_to("/etc/hostname")
    with pytest.raises(BundleError) as caught:
        read(tmp_path)
    assert [(problem.path, problem.severity) for problem in caught.value.problems] == [
        ("bundle.toml", "error"),
        ("policies/a\\n.cedar", "error"),
        ("policies/foo.ceder", "warning"),
        ("policies/link.cedar", "error"),
    ]
