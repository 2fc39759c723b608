"""The OPA bundle in a release that the officers signed in good faith; every weak spot that others had (POL-06; findings)."""

from __future__ import annotations

import hmac
import io
import json
import tarfile
from typing import Any

import pytest

from contracts.bundle_archive import ARCHIVE_BYTES_MAX, MANIFEST, SIGNATURES, pack, unpack
from contracts.canonical import canonical_bytes, sha256_hex
from symphony.release.ceremony import build_key_id, public_pem
from symphony.stack.credentials import new_key
from tests.attacks.attacker import Attacker
from tests.attacks.index import attack
from tests.policy.test_bundle_archive import entry, packed
from tests.policy.test_opa_bundle import b64, token

BUNDLE, ARCHIVE = "form contracts.opa_bundle", "form contracts.bundle_archive"
CODE = "RELEASE_BUNDLE"


class Forge:
    """Bundles made by hand with the stolen build key, so that each is wrong in one thing only."""

    def __init__(self, attacker: Attacker) -> None:
        self.key = attacker.world.ceremony.build
        self.key_id = build_key_id(self.key)
        self.files = unpack(attacker.world.files()["policy.tar.gz"])
        del self.files[SIGNATURES]

    @property
    def header(self) -> dict[str, Any]:
        """The one header that is right."""
        return {"alg": "ES256", "kid": self.key_id, "typ": "JWT"}

    def claims(self, **changes: Any) -> dict[str, Any]:
        """The claims over the files, changed; None removes one."""
        listed = [{"name": n, "hash": sha256_hex(self.files[n]), "algorithm": "SHA-256"} for n in sorted(self.files)]
        made = {"files": listed, "keyid": self.key_id, "scope": "symphony", **changes}
        return {name: value for name, value in made.items() if value is not None}

    def token(self, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A JWT signed with the build key."""
        return token(self.claims(**claims), header=header or self.header, key=self.key)

    def bundle(self, *tokens: str) -> bytes:
        """The files with a ``.signatures.json`` of these tokens."""
        return pack({**self.files, SIGNATURES: json.dumps({"signatures": list(tokens)}).encode()})

    def members(self, *more: tuple[tarfile.TarInfo, bytes]) -> bytes:
        """The signed files as a tar by hand, with more members."""
        whole = {**self.files, SIGNATURES: json.dumps({"signatures": [self.token()]}).encode()}
        return packed(*(entry(name, whole[name]) for name in sorted(whole)), *more)


@pytest.fixture
def forge(attacker: Attacker) -> Forge:
    """What the attacker's hand makes."""
    return Forge(attacker)


def passes_on(attacker: Attacker, bundle: bytes) -> None:
    """Officers sign a release with this bundle, its gate result over these very bytes."""
    attacker.passes_on(attacker.drafts(replaced={"policy.tar.gz": bundle}))
    attacker.is_refused()


def test_a_bundle_by_hand_that_is_right_is_taken(tmp_path: Any) -> None:
    """Else every refusal below could come from this file's own mistakes."""
    from tests.releases.support import Mirror, World

    mirror = Mirror(World(tmp_path / "stack"), tmp_path / "mirror")
    mirror.put_release(mirror.world.draft(1))
    victim = mirror.follower()
    assert victim.refresh() is not None
    made = Attacker(None, mirror, victim)  # type: ignore[arg-type] - nobody is refused here
    hand = Forge(made)
    made.passes_on(made.drafts(replaced={"policy.tar.gz": hand.bundle(hand.token())}))
    assert victim.refresh() is not None


@attack("a bundle signed without a key id in its claims (GHSA-g2pf-6v5v-qcc8)", by=BUNDLE, code=CODE)
def test_claims_without_a_key_id(attacker: Attacker, forge: Forge) -> None:
    passes_on(attacker, forge.bundle(forge.token(keyid=None)))


@attack("a header without kid", by=BUNDLE, code=CODE)
def test_a_header_without_kid(attacker: Attacker, forge: Forge) -> None:
    passes_on(attacker, forge.bundle(forge.token({"alg": "ES256", "typ": "JWT"})))


@attack("an unknown kid", by=BUNDLE, code=CODE)
def test_an_unknown_kid(attacker: Attacker, forge: Forge) -> None:
    passes_on(attacker, forge.bundle(forge.token({**forge.header, "kid": "0" * 64}, keyid="0" * 64)))


@attack("an overridden kid: the header names one key, the claims another", by=BUNDLE, code=CODE)
def test_an_overridden_kid(attacker: Attacker, forge: Forge) -> None:
    passes_on(attacker, forge.bundle(forge.token(keyid="0" * 64)))


@attack("a token that brings its own key", by=BUNDLE, code=CODE)
def test_a_token_that_brings_its_own_key(attacker: Attacker, forge: Forge) -> None:
    passes_on(attacker, forge.bundle(forge.token({**forge.header, "jwk": {"kty": "EC"}})))


@attack("alg: none", by=BUNDLE, code=CODE)
def test_alg_none(attacker: Attacker, forge: Forge) -> None:
    head = b64(canonical_bytes({**forge.header, "alg": "none"}))
    passes_on(attacker, forge.bundle(f"{head}.{b64(canonical_bytes(forge.claims()))}."))


@attack("HS256 with the public key as its secret", by=BUNDLE, code=CODE)
def test_hs256_with_the_public_key(attacker: Attacker, forge: Forge) -> None:
    signed = f"{b64(canonical_bytes({**forge.header, 'alg': 'HS256'}))}.{b64(canonical_bytes(forge.claims()))}"
    mac = hmac.digest(public_pem(forge.key).encode(), signed.encode(), "sha256")
    passes_on(attacker, forge.bundle(f"{signed}.{b64(mac)}"))


@attack("a bundle signed by another key than the build key", by=BUNDLE, code=CODE)
def test_another_key(attacker: Attacker, forge: Forge) -> None:
    passes_on(attacker, forge.bundle(token(forge.claims(), header=forge.header, key=new_key())))


@attack("a bundle that is not signed", by=BUNDLE, code=CODE)
def test_no_signature(attacker: Attacker, forge: Forge) -> None:
    passes_on(attacker, pack(forge.files))


@attack("two signatures, of which one is right", by=BUNDLE, code=CODE)
def test_two_signatures(attacker: Attacker, forge: Forge) -> None:
    passes_on(attacker, forge.bundle(forge.token(), forge.token()))


@attack("the wrong scope", by=BUNDLE, code=CODE)
def test_the_wrong_scope(attacker: Attacker, forge: Forge) -> None:
    passes_on(attacker, forge.bundle(forge.token(scope="read")))


@attack("no scope", by=BUNDLE, code=CODE)
def test_no_scope(attacker: Attacker, forge: Forge) -> None:
    passes_on(attacker, forge.bundle(forge.token(scope=None)))


@attack("a bundle that says itself when it runs out", by=BUNDLE, code=CODE)
def test_an_expired_token(attacker: Attacker, forge: Forge) -> None:
    """Expiry is TUF's business: a time claim of either kind is refused, in the past or not."""
    passes_on(attacker, forge.bundle(forge.token(exp=1)))


@attack("a bundle that is not yet valid by its own word", by=BUNDLE, code=CODE)
def test_a_token_not_yet_valid(attacker: Attacker, forge: Forge) -> None:
    passes_on(attacker, forge.bundle(forge.token(nbf=4_000_000_000)))


@attack("a file that is not in the signed list", by=BUNDLE, code=CODE)
def test_a_file_not_in_the_list(attacker: Attacker, forge: Forge) -> None:
    signed = forge.token()
    forge.files["payments/extra.rego"] = b"package symphony.extra\n"
    passes_on(attacker, forge.bundle(signed))


@attack("a listed file that is absent", by=BUNDLE, code=CODE)
def test_a_listed_file_absent(attacker: Attacker, forge: Forge) -> None:
    signed = forge.token()
    del forge.files[next(name for name in forge.files if name != MANIFEST)]
    passes_on(attacker, forge.bundle(signed))


@attack("a file changed after the signature", by=BUNDLE, code=CODE)
def test_a_changed_file(attacker: Attacker, forge: Forge) -> None:
    signed = forge.token()
    name = next(name for name in forge.files if name != MANIFEST)
    forge.files[name] += b"\n"
    passes_on(attacker, forge.bundle(signed))


@attack("roots that reach beyond the policy's package", by=BUNDLE, code=CODE)
def test_roots_beyond_the_package(attacker: Attacker, forge: Forge) -> None:
    forge.files[MANIFEST] = canonical_bytes({**json.loads(forge.files[MANIFEST]), "roots": [""]})
    passes_on(attacker, forge.bundle(forge.token()))


@attack("duplicate entries of the tar", by=ARCHIVE, code=CODE)
def test_duplicate_entries(attacker: Attacker, forge: Forge) -> None:
    name = next(name for name in forge.files if name != MANIFEST)
    passes_on(attacker, forge.members(entry(name, b"package symphony.other\n")))


@pytest.mark.parametrize("name", ["./a.rego", "/a.rego"])
@attack("./a or /a beside a", by=ARCHIVE, code=CODE)
def test_one_file_under_two_names(attacker: Attacker, forge: Forge, name: str) -> None:
    forge.files["a.rego"] = b"package symphony.a\n"
    passes_on(attacker, forge.members(entry(name, b"package symphony.b\n")))


@attack("an AppleDouble file (._a.rego)", by=ARCHIVE, code=CODE)
def test_an_appledouble_file(attacker: Attacker, forge: Forge) -> None:
    passes_on(attacker, forge.members(entry("._a.rego", b"package symphony.a\n")))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE], ids=["symbolic", "hard"])
@attack("a link in the tar", by=ARCHIVE, code=CODE)
def test_a_link(attacker: Attacker, forge: Forge, kind: bytes) -> None:
    passes_on(attacker, forge.members(entry("a.rego", b"", kind, linkname="/etc/passwd")))


@attack("a path that climbs out of the bundle", by=ARCHIVE, code=CODE)
def test_a_path_that_climbs(attacker: Attacker, forge: Forge) -> None:
    passes_on(attacker, forge.members(entry("../../a.rego", b"package symphony.a\n")))


@attack("two names that differ by case", by=ARCHIVE, code=CODE)
def test_a_case_clash(attacker: Attacker, forge: Forge) -> None:
    name = next(name for name in forge.files if name != MANIFEST)
    passes_on(attacker, forge.members(entry(name.upper(), b"package symphony.a\n")))


@attack("a zip bomb", by=ARCHIVE, code=CODE)
def test_a_zip_bomb(attacker: Attacker, forge: Forge) -> None:
    passes_on(attacker, forge.members(entry("bomb.rego", bytes(ARCHIVE_BYTES_MAX))))


@attack("bytes behind the gzip", by=ARCHIVE, code=CODE)
def test_bytes_behind_the_gzip(attacker: Attacker, forge: Forge) -> None:
    passes_on(attacker, forge.bundle(forge.token()) + forge.bundle(forge.token()))


@attack("a second tar behind the first", by=ARCHIVE, code=CODE)
def test_a_second_tar_behind_the_first(attacker: Attacker, forge: Forge) -> None:
    import gzip

    first = gzip.decompress(forge.bundle(forge.token()))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        member, content = entry("a.rego", b"package symphony.a\n")
        archive.addfile(member, io.BytesIO(content))
    passes_on(attacker, gzip.compress(first + out.getvalue(), mtime=0))
