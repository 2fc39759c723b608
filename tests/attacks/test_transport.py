"""A hostile server over real TLS: data without end, drips, lies about length, silence. A follower comes away in time."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.release import FolderSource, HttpsSource, NotThere
from contracts.release.limits import TARGET_BYTES_MAX
from tests.attacks.attacker import Attacker
from tests.attacks.index import attack
from tests.releases.peer import cut, drip, endless, peer, silence
from tests.releases.support import follower

SOURCE = "form contracts.release.source"
Answer = Callable[[ssl.SSLSocket], None]


def honest_but(attacker: Attacker, what: str, hostile: Answer) -> Answer:
    """A server of the attacker's mirror that answers ``hostile`` where the path holds ``what``."""

    def answer(tls: ssl.SSLSocket, request: bytes) -> None:
        path = request.split(b" ", 2)[1].decode().removeprefix("/tuf/")
        if what in path:
            hostile(tls)
            return
        try:
            body, status = FolderSource(attacker.mirror.folder).fetch(path, TARGET_BYTES_MAX), b"200 OK"
        except NotThere:
            body, status = b"", b"404 no"
        tls.sendall(b"HTTP/1.1 %s\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))

    answer.wants_request = True  # type: ignore[attr-defined]
    return answer  # type: ignore[return-value]


def over_tls(attacker: Attacker, tmp_path: Path, what: str, hostile: Answer, number: int | None) -> None:
    """The victim restarts over the hostile server, and comes away with what it had."""
    attacker.passes_on(attacker.drafts())
    (tmp_path / "peer").mkdir()
    with peer(tmp_path / "peer", honest_but(attacker, what, hostile)) as server:
        source = HttpsSource(server.url, server.client, timeout_s=1.0)
        victim = follower(attacker.world, source, attacker.world.folder / "follower")
        assert victim.start() is not None
        attacker.is_refused(number, victim=victim)
        source.close()


@attack("endless data in the place of the timestamp", by=SOURCE, code="RELEASE_DIGEST")
def test_endless_metadata_over_transport(attacker: Attacker, tmp_path: Path) -> None:
    over_tls(attacker, tmp_path, "timestamp.json", endless, 1)


@attack("endless data in the place of a target", by=SOURCE, code="RELEASE_DIGEST")
def test_endless_target_over_transport(attacker: Attacker, tmp_path: Path) -> None:
    over_tls(attacker, tmp_path, "environment.json", endless, 2)


@attack("a slow server: metadata byte by byte", by=SOURCE, code="RELEASE_UNREACHABLE")
def test_slow_metadata_over_transport(attacker: Attacker, tmp_path: Path) -> None:
    """Nobody refused anything: no number is reported, and the lease runs on to its end."""
    over_tls(attacker, tmp_path, "snapshot.json", drip, None)


@attack("a slow server: a target byte by byte", by=SOURCE, code="RELEASE_UNREACHABLE")
def test_a_slow_target_over_transport(attacker: Attacker, tmp_path: Path) -> None:
    over_tls(attacker, tmp_path, "environment.json", drip, 2)


@pytest.mark.parametrize("hostile", [cut, silence])
@attack("a target that ends before its length, or never begins", by=SOURCE, code="RELEASE_UNREACHABLE")
def test_a_target_cut_short_over_transport(attacker: Attacker, tmp_path: Path, hostile: Answer) -> None:
    over_tls(attacker, tmp_path, "environment.json", hostile, 2)
