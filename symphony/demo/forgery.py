"""Step 6, the attack: somebody has the control plane's database and every online key, but no officer's key.

He writes a release of his own, signs it with what he has, and publishes a snapshot and a timestamp that are perfectly
valid.
Sidecar and ledger refuse it (``RELEASE_SIGNATURE``) and stay on what the officers signed. Afterwards the operator removes the
forged file, and the officers publish the next true release, which everybody takes.
"""

from __future__ import annotations

import asyncio

import psycopg
from tuf.api.metadata import Metadata

from contracts.keys import signer_of
from contracts.named_sql import queries
from contracts.times import SystemClock
from controlplane.context import Context
from controlplane.store import Database
from controlplane.trust import services
from controlplane.trust.signing import RoleFile
from symphony.demo import chapters
from symphony.demo.tell import Teller
from symphony.release.ceremony import ONLINE, Ceremony
from symphony.release.client import Officer
from symphony.release.propose import draft
from symphony.stack import prepare, release_one
from symphony.stack.environment import LOG_ORIGIN, load_template
from symphony.stack.gate import check_stack
from symphony.stack.layout import ENVIRONMENT, LEDGER, SERVICE, Layout

FORGED_MINOR = 9_000_000_000_000


def refused(layout: Layout, teller: Teller) -> None:
    """Forge, watch it being refused, clean up, publish the next true release."""
    held = chapters.active(layout)[SERVICE]["active_number"]
    forged = held + 1
    asyncio.run(_publish(layout, forged))
    for name in (SERVICE, LEDGER):
        entry = chapters.wait(lambda n=name: _refusal(layout, n, forged), f"{name} to refuse release {forged}")
        teller.claim(
            entry["active_number"] == held and entry["refused_code"] == "RELEASE_SIGNATURE",
            f"{name} refuses the forged release {forged} and stays on {held}", entry["refused_code"],
        )  # fmt: skip
    _clean_up(layout, forged)
    template = load_template(layout.folder / "environment.template.json")
    number = chapters.publish(layout, template, "a true release after the forged one", teller)
    teller.claim(
        number == forged,
        f"the officers' own release {number} is taken by everybody",
        "two approvals besides the proposer",
    )


def _refusal(layout: Layout, name: str, forged: int) -> dict[str, object] | None:
    entry = chapters.active(layout)[name]
    return entry if entry["refused_number"] == forged else None


async def _publish(layout: Layout, number: int) -> None:
    """What the attacker does, with the control plane's own code, login and keys."""
    ceremony = Ceremony(layout.folder, (ENVIRONMENT,))
    now = SystemClock().now()
    template = load_template(layout.folder / "environment.template.json")
    template["caps"]["ZMW"]["payment_minor_max"] = FORGED_MINOR
    files = release_one.release_files(layout, template=template, manifests=layout.folder / "manifests", schemas=None)
    mallory = Officer("mallory", ceremony.online("log"))
    gate = release_one.gate_result(layout, files, *check_stack(layout))
    made = draft(
        mallory, files, gate, environment=ENVIRONMENT, number=number, reason="free money", change_ticket="none", now=now
    )
    role = Metadata.from_bytes(made.metadata)
    for name in ONLINE:
        role.sign(signer_of(ceremony.online(name)), append=True)
    url = prepare.database_url(layout, prepare.database(layout), "controlplane", "cp_writer")
    context = Context(
        pool=Database(url), environment=ENVIRONMENT, snapshot_key=ceremony.online("snapshot"),
        timestamp_key=ceremony.online("timestamp"), log_key=ceremony.online("log"), log_origin=LOG_ORIGIN,
    )  # fmt: skip
    async with context.pool.transaction() as connection:
        newest = await services.newest_files(connection)
        file = RoleFile(ENVIRONMENT, number, role.to_bytes())
        await services.publish(connection, services.publication(context, newest, [file]))
    await context.pool.close()


def _clean_up(layout: Layout, number: int) -> None:
    """The operator removes the forged file as the superuser, the only one whom the triggers do not stop."""
    url = prepare.database(layout).admin_url(prepare.DATABASES["controlplane"])
    statements = queries("symphony.demo")
    with psycopg.connect(url) as connection:
        connection.execute(statements["triggers_off"])
        connection.execute(statements["remove_forged"], (ENVIRONMENT, number))
