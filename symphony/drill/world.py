"""A scratch world for a drill: custodians, officers, a repository, a control plane over TLS, sidecars' release clients.

Everything is made anew in a folder and a database of its own; the clock is moved by hand. Nothing of a live stack is read.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from tuf.api.metadata import Metadata, Targets

from contracts.keys import key_id_of, load_private_key, new_private_key, public_hex, signer_of
from contracts.release import FileRecord, HttpsSource, ReleaseFollower, ReleaseSource
from contracts.tls import client_context
from controlplane.context import Context
from controlplane.store import Database
from symphony.drill.plane import Plane
from symphony.release.approve import approve
from symphony.release.ceremony import CUSTODIANS, OFFICERS, SECURITY_OFFICERS, Ceremony
from symphony.release.client import ControlPlane, Officer
from symphony.release.gate import sign_gate
from symphony.release.promote import promote
from symphony.release.propose import Draft, collect, draft, propose
from symphony.release.review import review
from symphony.release.revoke import publish_revocations, publish_trust
from symphony.release.rollback import rollback
from symphony.stack import credentials
from symphony.stack.environment import load_template, manifests_in, template_of
from symphony.trust.apply import publish_folder, renewal, write_drafts
from symphony.trust.change import Next
from symphony.trust.published import Published, of_control_plane
from symphony.trust.sign import Folder, sign_where_named

ENVIRONMENT, SERVICE = "sandbox", "reference-rail"
CERTIFICATE_DAYS = 1500
"""Longer than any drill's clock is moved: certificates that run out are not what is practised."""
XSD = b'<?xml version="1.0"?><xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"/>'


class MovableClock:
    """The host's time, moved by hand."""

    def __init__(self) -> None:
        self.moved = timedelta()

    def now(self) -> datetime:
        """The time now, moved."""
        return datetime.now(UTC) + self.moved


@dataclass
class World:
    """``with World(folder, database_url) as world``: a control plane runs, with trust and empty revocations published.

    ``reviews``: officers download and check what they approve, as in life. ``publishes``: else the ceremony is somebody else's.
    """

    folder: Path
    database_url: str
    clock: MovableClock = field(default_factory=MovableClock)
    authority: credentials.Credential | None = None
    reviews: bool = True
    publishes: bool = True
    drafts: int = 0
    port: int = 0
    sources: list[HttpsSource] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.ceremony = Ceremony(self.folder)
        self.ceremony.make_keys()
        self.trust = self.ceremony.sign_trust(self.clock.now())
        self.ca = self.folder / "ca.pem"
        self.authority = self.authority or credentials.make_ca("drill", now=self.clock.now())
        self.ca.write_text(self.authority.pem)
        self._principals = self._enrolled()
        credentials.server_credential(self.authority, "controlplane", now=self.clock.now()).write(
            self.folder / "server.pem", self.folder / "server-key.pem"
        )
        self.keys = self.folder / "controlplane" / "keys"
        self.start()
        if self.publishes:
            publish_trust(self.control(CUSTODIANS[0]), [self.root], self.trust["targets.json"])
            publish_revocations(
                self.control(SECURITY_OFFICERS[0]), ENVIRONMENT, self.trust[f"{ENVIRONMENT}-revocations.json"]
            )
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    # ---- the control plane ------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the control plane, with the online keys that lie in its folder now; at the same address as before."""
        self.plane = Plane(self._context, self._principals, self.folder, self.ca, self.port)
        self.port = self.plane.__enter__().port

    def stop(self) -> None:
        """Stop it; sidecars connect again."""
        for source in self.sources:
            source.close()
        self.plane.__exit__()

    def _context(self) -> Context:
        keys = {name: load_private_key(self.keys / f"{name}.pem") for name in ("snapshot", "timestamp", "log")}
        return Context(
            pool=Database(self.database_url), environment=ENVIRONMENT, snapshot_key=keys["snapshot"],
            timestamp_key=keys["timestamp"], log_key=keys["log"], log_origin="symphony.drill/log", clock=self.clock,
        )  # fmt: skip

    def control(self, name: str) -> ControlPlane:
        """The API as a person with a certificate."""
        return ControlPlane.for_folder(self.plane.url, self.person(name), self.ca)

    # ---- people ------------------------------------------------------------------------------------------

    @property
    def root(self) -> bytes:
        """The root that the sidecars of this world pinned."""
        return self.trust["1.root.json"]

    def person(self, name: str) -> Path:
        """The folder of a person."""
        kinds = {**dict.fromkeys(CUSTODIANS, "custodians"), **dict.fromkeys(SECURITY_OFFICERS, "security")}
        return self.folder / kinds.get(name, "officers") / name

    def officer(self, name: str) -> Officer:
        """An officer with his key."""
        return Officer.from_folder(self.person(name))

    def enrolment(self, name: str) -> dict[str, Any]:
        """A new officer: key and certificate are made; the entry that enrols the certificate."""
        folder = self.person(name)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (folder / "key.pem").exists():
            new_private_key(folder / "key.pem")
        made = self._certificate(folder)
        return {"sha256": made, "kind": "officer", "name": name, "key_id": self.officer(name).key_id}

    def _enrolled(self) -> Path:
        people = [*OFFICERS, SECURITY_OFFICERS[0], CUSTODIANS[0]]
        fingerprints = {name: self._certificate(self.person(name)) for name in people}
        services = {SERVICE: self._certificate(self.folder / "services" / SERVICE)}
        path = self.folder / "principals.json"
        path.write_text(json.dumps(self.ceremony.principals(fingerprints, services)))
        return path

    def _certificate(self, folder: Path) -> str:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        assert self.authority is not None
        made = credentials.officer_credential(
            self.authority, ENVIRONMENT, folder.name, now=self.clock.now(), days=CERTIFICATE_DAYS
        )
        if not (folder / "client.pem").exists():
            made.write(folder / "client.pem", folder / "client-key.pem")
            return made.sha256
        return credentials.load_credential(folder / "client.pem", folder / "client-key.pem").sha256

    # ---- releases ----------------------------------------------------------------------------------------

    def files(self, cap_minor: int = 1_000_000) -> dict[str, bytes]:
        """A release's targets; ``cap_minor`` tells releases apart."""
        data = load_template(template_of(None))
        gate = self.ceremony.gate
        key = {"key_id": key_id_of(gate), "public_key": public_hex(gate), "sidecar": SERVICE}
        caps = {name: {**cap, "payment_minor_max": cap_minor} for name, cap in data["caps"].items()}
        data |= {
            "environment": ENVIRONMENT, "issuers": [], "certificate_authorities": [], "permit_keys": [key],
            "evidence_keys": [key], "log_keys": [], "caps": caps,
        }  # fmt: skip
        return collect(
            environment_data=data, manifests=manifests_in(None), schemas={"iso20022/pacs.008.001.08": XSD},
            invariants={"schema": "symphony.invariants/1", "invariants": []}, build_key=self.ceremony.build,
        )  # fmt: skip

    def drafted(self, number: int, proposer: str = "alice", cap_minor: int = 1_000_000) -> Draft:
        """A release that was not sent."""
        files = self.files(cap_minor)
        return draft(
            self.officer(proposer), files, sign_gate(self.ceremony.gate, files, passed=["INV-018"]), environment=ENVIRONMENT,
            number=number, reason="a drill", change_ticket="DRILL-1", now=self.clock.now(),
        )  # fmt: skip

    def proposed(self, proposer: str = "alice", cap_minor: int = 1_000_000) -> Draft:
        """Propose the next release."""
        files = self.files(cap_minor)
        return propose(
            self.control(proposer), self.officer(proposer), files, sign_gate(self.ceremony.gate, files, passed=["INV-018"]),
            environment=ENVIRONMENT, reason="a drill", change_ticket="DRILL-1", root=self.root, now=self.clock.now(),
        )  # fmt: skip

    def renewed(self, number: int, proposer: str, approvers: Sequence[str]) -> int:
        """Propose the next release with the digests of ``number``, and have it approved; its number."""
        made = rollback(
            self.control(proposer), self.officer(proposer), environment=ENVIRONMENT, to=number, reason="a drill: renewal",
            change_ticket="DRILL-1", root=self.root, now=self.clock.now(),
        )  # fmt: skip
        self.approved(made.number, *approvers)
        return made.number

    def approved(self, number: int, *approvers: str) -> str:
        """Approve a release as each of them; the status after the last."""
        status = ""
        for name in approvers:
            control = self.control(name)
            if self.reviews:
                found = review(control, ENVIRONMENT, number, root=self.root, now=self.clock.now())
                status = approve(control, self.officer(name), found)
            else:
                status = self._signed_unread(control, self.officer(name), number)
        return status

    def _signed_unread(self, control: ControlPlane, officer: Officer, number: int) -> str:
        """An approval without looking, as no officer should: for tests of what comes after it."""
        shown = control.release(ENVIRONMENT, number)
        signed = Metadata[Targets].from_bytes(base64.b64decode(shown["metadata"])).signed_bytes
        signature = signer_of(officer.key).sign(signed).signature
        envelope = officer.ask("approve", ENVIRONMENT, number, shown["metadata_digest"], signature=signature)
        return str(control.post(f"/v1/releases/{ENVIRONMENT}/{number}/approvals", {"envelope": envelope})["status"])

    def promoted(self, number: int, officer: str = "alice") -> str:
        """Promote an approved release."""
        return promote(self.control(officer), self.officer(officer), ENVIRONMENT, number)

    def release(
        self, proposer: str = "alice", approvers: Sequence[str] = ("bruno", "chanda"), cap_minor: int = 1_000_000
    ) -> int:
        """Propose, approve, promote; the number."""
        made = self.proposed(proposer, cap_minor)
        self.approved(made.number, *approvers)
        self.promoted(made.number, proposer)
        return made.number

    # ---- trust -------------------------------------------------------------------------------------------

    def published(self) -> Published:
        """What is published, verified from the pinned root."""
        return of_control_plane(self.control(CUSTODIANS[0]), self.root)

    def change(self, wish: Callable[[Next], object], *, root: bool = False) -> Next:
        """The next root and targets by one wish."""
        following = Next(self.published(), root_changes=root)
        wish(following)
        return following

    def signed(self, following: Next, *custodians: str, principals: Sequence[dict[str, Any]] = ()) -> Folder:
        """The drafts of a change, signed by these custodians (all by default), and by whoever signs lists."""
        self.drafts += 1
        folder = self.folder / "drafts" / str(self.drafts)
        write_drafts(folder, following.files(self.clock.now()), principals)
        named = custodians or tuple(sorted(path.name for path in (self.folder / "custodians").iterdir()))
        people = [self.folder / "custodians" / name for name in named] + sorted((self.folder / "security").iterdir())
        for person in people:
            sign_where_named(Folder.read(folder), load_private_key(person / "key.pem"))
        return Folder.read(folder)

    def publish(self, folder: Folder, *, renewals: Sequence[dict[str, Any]] = ()) -> dict[str, int]:
        """Publish signed drafts."""
        return publish_folder(self.control(CUSTODIANS[0]), folder, renewals=renewals)

    def renewal(self, officer: str, number: int) -> dict[str, Any]:
        """An officer's word for a renewal that is published with a change."""
        digest = str(self.control(officer).release(ENVIRONMENT, number)["metadata_digest"])
        return renewal(self.officer(officer), ENVIRONMENT, number, digest)

    # ---- sidecars ----------------------------------------------------------------------------------------

    def source(self) -> HttpsSource:
        """The source that a service uses."""
        folder = self.folder / "services" / SERVICE
        context = client_context(folder / "client.pem", folder / "client-key.pem", self.ca)
        self.sources.append(HttpsSource(f"{self.plane.url}/tuf", context))
        return self.sources[-1]

    def sidecar(self, name: str, source: ReleaseSource | None = None, root: bytes | None = None) -> ReleaseFollower:
        """A sidecar's own release client, with a folder and a durable record by name."""
        folder = self.folder / "sidecars" / name
        return ReleaseFollower(
            environment=ENVIRONMENT, service=SERVICE, folder=folder / "release", root_bytes=root or self.root,
            source=source or self.source(), record=FileRecord(folder / "accepted.json"), clock=self.clock,
        )  # fmt: skip
