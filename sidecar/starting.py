"""What a writer's start says of itself in evidence: its software, its release and the SBOM that both were held to (ATT-19)."""

from __future__ import annotations

from typing import Any

from contracts.release import VerifiedRelease
from contracts.release.build import SBOM, demanded, named
from contracts.software import Software
from sidecar.store import WriterStore
from sidecar.store.store import EXECUTOR

STARTED, WITHOUT = "STARTED", "NO_ACTIVE_RELEASE"


async def schema_version(store: WriterStore) -> int | None:
    """The migration that the writer's database is at; ``None`` where it is older than the question (N-1)."""
    async with store.transaction(EXECUTOR) as transaction:
        if not await transaction.value("has_schema_version"):
            return None
        version = await transaction.value("schema_version")
    return None if version is None else int(version)


def fields_of(
    epoch: int, here: Software, schema: int | None, release: VerifiedRelease | None, refused: str | None
) -> dict[str, Any]:
    """The record ``startup``. ``schema``: the database's migration; ``refused``: the code that the held release was refused with,
    and then nothing is taken in or sent.

    ``attested``: the release's manifest demands the build that it was held to; ``sbom_sha256`` stands there only then.
    """
    attested = release is not None and demanded(release.manifest)
    return {
        "epoch": epoch, "symphony_version": here.version, "code_sha256": here.code_sha256, "schema_version": schema,
        "release_number": release.number if release else None, "policy_digest": release.policy_digest if release else None,
        "attested": attested,
        "sbom_sha256": named(release.proposal)[SBOM] if release is not None and attested else None,
        "result": refused or (STARTED if release else WITHOUT),
    }  # fmt: skip
