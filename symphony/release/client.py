"""The officers' HTTP client: mTLS, JSON, problem documents become errors, one connection a call.

``ControlPlane`` speaks; ``Officer`` is a key with a name that signs what is asked (DSSE, ``REQUEST_TYPE``).
"""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.canonical import canonical_bytes
from contracts.errors import CannotEvaluate, Refused, SymphonyError
from contracts.keys import REQUEST_TYPE, key_id_of, load_private_key
from contracts.reasons import REASONS
from contracts.release.envelope import make_envelope
from contracts.release.limits import RELEASE_BYTES_MAX
from contracts.tls import client_context
from symphony.invariants.plain import plain

TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Officer:
    """Who signs: a name and a key of his own."""

    name: str
    key: Ed25519PrivateKey

    @classmethod
    def from_folder(cls, folder: Path) -> Officer:
        """``DIR/officers/<name>/`` with ``key.pem``."""
        return cls(folder.name, load_private_key(folder / "key.pem"))

    @property
    def key_id(self) -> str:
        """The TUF key id."""
        return key_id_of(self.key)

    def ask(self, action: str, environment: str, number: int, metadata_digest: str, **more: Any) -> dict[str, Any]:
        """A signed request about one release."""
        return self.say(action, environment=environment, number=number, metadata_digest=metadata_digest, **more)

    def say(self, action: str, **fields: Any) -> dict[str, Any]:
        """A signed request."""
        return make_envelope(self.key, REQUEST_TYPE, canonical_bytes({"action": action, **fields}))


class ControlPlane:
    """The control plane's HTTP API. Errors carry the server's reason code."""

    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise CannotEvaluate("CONFIGURATION", f"the control plane is https://…, not {url}")
        self._host, self._port, self._context = parts.hostname, parts.port or 443, context

    @classmethod
    def for_folder(cls, url: str, folder: Path, ca: Path) -> ControlPlane:
        """With the client certificate of ``DIR/officers/<name>/`` (``client.pem``, ``client-key.pem``)."""
        return cls(url, client_context(folder / "client.pem", folder / "client-key.pem", ca))

    def get(self, path: str, **query: str) -> Any:
        """A JSON document."""
        return orjson.loads(self.get_bytes(path, **query))

    def get_bytes(self, path: str, **query: str) -> bytes:
        """The bytes at an address."""
        return self._call("GET", quote(path) + (f"?{urlencode(query)}" if query else ""), None)

    def post(self, path: str, body: Any) -> Any:
        """Post JSON; the JSON answer, ``None`` when it is empty."""
        answer = self._call("POST", quote(path), orjson.dumps(body))
        return orjson.loads(answer) if answer else None

    def release(self, environment: str, number: int) -> dict[str, Any]:
        """One release as the control plane shows it; nothing of it is trusted."""
        found = self.get(f"/v1/releases/{environment}/{number}")
        assert isinstance(found, dict)
        return found

    def releases(self, environment: str) -> list[dict[str, Any]]:
        """The releases of an environment, newest first."""
        return list(self.get(f"/v1/releases/{environment}")["releases"])

    def trust(self, environment: str, root_version: int) -> tuple[list[bytes], bytes, bytes]:
        """Roots after ``root_version``, targets and revocation list as published; to be verified by the caller."""
        roots: list[bytes] = []
        while (data := self._metadata(f"{root_version + len(roots) + 1}.root")) is not None:
            roots.append(data)
        snapshot = self._newest_snapshot()["signed"]["meta"]
        names = ("targets", f"{environment}-revocations")
        found = [self._metadata(f"{snapshot[f'{n}.json']['version']}.{n}") for n in names if f"{n}.json" in snapshot]
        if len(found) != len(names) or None in found:
            raise CannotEvaluate("RELEASE_UNREACHABLE", "the control plane serves no targets or no revocation list")
        return roots, bytes(found[0] or b""), bytes(found[1] or b"")

    def published(self, role: str, version: int) -> bytes | None:
        """A version of a role file as TUF serves it, signatures and all; to be verified by the caller."""
        return self._metadata(f"{version}.{role}")

    def _newest_snapshot(self) -> Any:
        timestamp = orjson.loads(self._metadata("timestamp") or b"{}")
        try:
            version = timestamp["signed"]["meta"]["snapshot.json"]["version"]
            return orjson.loads(self._metadata(f"{version}.snapshot") or b"{}")
        except (KeyError, TypeError) as error:
            raise CannotEvaluate("RELEASE_UNREACHABLE", "the control plane serves no timestamp") from error

    def _metadata(self, name: str) -> bytes | None:
        try:
            return self.get_bytes(f"/tuf/metadata/{name}.json")
        except SymphonyError as error:
            if error.code == "NOT_FOUND":
                return None
            raise

    def _call(self, method: str, path: str, body: bytes | None) -> bytes:
        connection = http.client.HTTPSConnection(self._host, self._port, context=self._context, timeout=TIMEOUT_S)
        headers = {"content-type": "application/json"} if body is not None else {}
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer = response.read(RELEASE_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException) as error:
            raise CannotEvaluate("RELEASE_UNREACHABLE", f"{self._host}:{self._port}: {error}") from error
        finally:
            connection.close()
        if len(answer) > RELEASE_BYTES_MAX:
            raise CannotEvaluate("RELEASE_UNREACHABLE", f"an answer over {RELEASE_BYTES_MAX} bytes")
        if response.status >= http.client.BAD_REQUEST:
            raise _error(response.status, answer)
        return answer


def _error(status: int, answer: bytes) -> SymphonyError:
    try:
        problem = orjson.loads(answer)
        code, detail = str(problem["reason_code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return CannotEvaluate("RELEASE_UNREACHABLE", f"HTTP {status}")
    if code not in REASONS:
        return CannotEvaluate("RELEASE_UNREACHABLE", f"HTTP {status}: {code[:64]}")
    return Refused(code, plain(detail))
