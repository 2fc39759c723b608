"""The bundle's archive has one form; every other tar or gzip is refused (findings, "OPA bundle signatures")."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib

import pytest

from contracts.bundle_archive import ARCHIVE_BYTES_MAX, FILES_MAX, PACKED_BYTES_MAX, is_rego_name, pack, unpack
from contracts.errors import NotTrusted

FILES = {".manifest": b"{}", ".signatures.json": b"{}", "payments/a.rego": b"package a\n"}


def entry(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: object) -> tuple:
    """One member of a tar made by hand."""
    member = tarfile.TarInfo(name)
    member.type, member.size, member.mode = kind, len(content), 0o644
    for field, value in fields.items():
        setattr(member, field, value)
    return member, content


def packed(*entries: tuple, form: int = tarfile.USTAR_FORMAT) -> bytes:
    """A packed archive of members made by hand."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for member, content in entries:
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(out.getvalue(), mtime=0)


def refused(archive: bytes) -> str:
    """Why the archive is refused."""
    with pytest.raises(NotTrusted) as caught:
        unpack(archive)
    assert caught.value.code == "RELEASE_BUNDLE"
    return caught.value.detail


def test_what_is_packed_comes_out_and_the_bytes_are_the_same_each_time():
    assert unpack(pack(FILES)) == FILES
    assert pack(FILES) == pack(dict(reversed(FILES.items())))


def test_made_by_hand_in_the_one_form_it_is_taken():
    assert unpack(packed(*(entry(name, FILES[name]) for name in sorted(FILES)))) == FILES


@pytest.mark.parametrize("name", [
    "./a.rego", "/a.rego", "../a.rego", "a/../b.rego", "a//b.rego", "a/./b.rego", "._a.rego", "a/._b.rego", ".a.rego",
    "A.rego", "a/B.rego", "a.REGO", "a b.rego", "a.rego/", "a\\b.rego", "é.rego", "a.json", "data.json", "policy.wasm",
    ".manifest/", "x/.manifest", "x/.signatures.json", "a.rego.", "a..rego", "", "a\nb.rego", "-a.rego",
])
def test_a_name_outside_the_one_form_is_refused(name):
    assert not is_rego_name(name)
    refused(packed(entry(name, b"package a\n")))


def test_a_name_that_needs_an_extension_header_is_refused():
    assert not is_rego_name("a" * 99 + ".rego")
    refused(packed(entry("a" * 99 + ".rego"), form=tarfile.PAX_FORMAT))


def test_two_files_of_one_name_are_refused():
    assert "twice" in refused(packed(entry("a.rego", b"package a\n"), entry("a.rego", b"package b\n")))


def test_names_that_differ_by_case_are_refused():
    assert "A.rego" in refused(packed(entry("A.rego", b"x"), entry("a.rego", b"y")))


@pytest.mark.parametrize("kind", [
    tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE,
    tarfile.AREGTYPE, tarfile.CONTTYPE,
])
def test_what_is_no_plain_file_is_refused(kind):
    assert "not a plain file" in refused(packed(entry("a.rego", kind=kind, linkname="/etc/passwd")))


@pytest.mark.parametrize(("fields", "form"), [
    ({"mtime": 1}, tarfile.USTAR_FORMAT), ({"uid": 7}, tarfile.USTAR_FORMAT), ({"mode": 0o755}, tarfile.USTAR_FORMAT),
    ({"uname": "root"}, tarfile.USTAR_FORMAT), ({"linkname": "x"}, tarfile.USTAR_FORMAT), ({}, tarfile.GNU_FORMAT),
    ({"pax_headers": {"path": "b.rego"}}, tarfile.PAX_FORMAT), ({"pax_headers": {"comment": "x"}}, tarfile.PAX_FORMAT),
])
def test_a_header_that_says_more_is_refused(fields, form):
    assert "one form" in refused(packed(entry("a.rego", b"package a\n", **fields), form=form))


def test_files_out_of_order_are_refused():
    assert "one form" in refused(packed(entry("b.rego"), entry("a.rego")))


def test_bytes_behind_the_end_of_the_tar_are_refused():
    tar = gzip.decompress(pack(FILES))
    hidden = io.BytesIO()
    with tarfile.open(fileobj=hidden, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(*(entry("z.rego", b"package z\n")[0], io.BytesIO(b"package z\n")))
    assert "one form" in refused(gzip.compress(tar + hidden.getvalue()))
    assert "one form" in refused(gzip.compress(tar + b"\0" * 512))


def test_a_second_gzip_or_anything_behind_the_first_is_refused():
    assert "behind" in refused(pack(FILES) + pack({"b.rego": b""}))
    assert "behind" in refused(pack(FILES) + b"x")


@pytest.mark.parametrize("size", [0, 1, 10, 60, -1, -9])
def test_an_archive_cut_short_is_refused(size):
    refused(pack(FILES)[:size])


def test_every_single_changed_byte_of_the_tar_is_refused_or_changes_a_file():
    tar = gzip.decompress(pack({"a.rego": b"package a\n"}))
    for position in range(0, len(tar), 7):
        changed = bytearray(tar)
        changed[position] ^= 0x01
        try:
            assert unpack(gzip.compress(bytes(changed))) != {"a.rego": b"package a\n"}
        except NotTrusted:
            continue


@pytest.mark.parametrize("data", [
    b"", b"x", b"PK\3\4", gzip.compress(b"", mtime=0), gzip.compress(b"x" * 1024, mtime=0), zlib.compress(b"x"),
])
def test_what_is_no_archive_is_refused(data):
    refused(data)


def test_a_bomb_is_stopped_before_it_is_unpacked():
    assert "unpacks to over" in refused(gzip.compress(b"\0" * (ARCHIVE_BYTES_MAX + 1)))
    assert "over" in refused(b"\0" * (PACKED_BYTES_MAX + 1))


def test_too_many_files_are_refused():
    assert "more than" in refused(packed(*(entry(f"a{n:04}.rego") for n in range(FILES_MAX + 1))))
