"""Refusals about the bytes of a release: targets, bundle, environment data, manifests, engine (rules 13 and 15)."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import NotTrusted
from contracts.release import ReleaseFollower
from symphony.stack.credentials import new_key
from tests.releases.support import ENVIRONMENT, Mirror, environment_data, manifests
from tests.releases.test_refusals import refused


def test_other_bytes_than_were_signed(mirror: Mirror, following: ReleaseFollower) -> None:
    mirror.put_release(mirror.world.draft(2, mirror.world.files(cap_minor=7)))
    (file,) = (mirror.folder / "targets" / ENVIRONMENT / "2").glob("*.environment.json")
    file.write_bytes(file.read_bytes().replace(b"Kafue", b"Kafuf"))
    refused(following, "RELEASE_DIGEST")


def test_a_longer_target_than_was_signed(mirror: Mirror, following: ReleaseFollower) -> None:
    mirror.put_release(mirror.world.draft(2, mirror.world.files(cap_minor=7)))
    (file,) = (mirror.folder / "targets" / ENVIRONMENT / "2").glob("*.environment.json")
    file.write_bytes(file.read_bytes() + b" " * 1000)
    refused(following, "RELEASE_DIGEST")


def test_a_bundle_signed_by_another_key_than_the_build_key(mirror: Mirror, following: ReleaseFollower) -> None:
    mirror.put_release(mirror.world.draft(2, mirror.world.files(build_key=new_key())))
    refused(following, "RELEASE_BUNDLE")


def test_environment_data_of_another_environment(mirror: Mirror, following: ReleaseFollower) -> None:
    data = {**environment_data(), "environment": "production"}
    mirror.put_release(mirror.world.draft(2, mirror.world.files(environment_data=data)))
    refused(following, "RELEASE_ENVIRONMENT")


def test_environment_data_that_breaks_its_schema(mirror: Mirror, following: ReleaseFollower) -> None:
    data = {**environment_data(), "surprise": True}
    mirror.put_release(mirror.world.draft(2, mirror.world.files(environment_data=data)))
    refused(following, "RELEASE_MANIFEST")


@pytest.mark.parametrize(
    "freeze",
    [
        {"name": "always", "calendar": "utc"},
        {"name": "typo", "calendar": "utc", "first_day": "2026-12-31"},
        {"name": "nowhere", "calendar": "moon", "business_days_only": True},
        {"name": "for-good", "calendar": "utc", "first_date": "2020-01-01"},
    ],
    ids=["no condition", "unknown field", "no such calendar", "no hour left"],
)
def test_a_freeze_window_that_means_nothing_or_never_opens(
    mirror: Mirror, following: ReleaseFollower, freeze: dict[str, Any]
) -> None:
    data = environment_data() | {"calendars": {"utc": {"timezone": "UTC", "weekend": [], "holidays": []}}, "freezes": [freeze]}
    mirror.put_release(mirror.world.draft(2, mirror.world.files(environment_data=data)))
    refused(following, "RELEASE_MANIFEST")


def test_a_release_without_this_services_manifest(mirror: Mirror, following: ReleaseFollower) -> None:
    others = {name: value for name, value in manifests().items() if name == "core-ledger"}
    mirror.put_release(mirror.world.draft(2, mirror.world.files(manifests=others)))
    refused(following, "RELEASE_SERVICE_UNKNOWN")


def test_a_manifest_that_loosens_a_bound_of_the_schema(mirror: Mirror, following: ReleaseFollower) -> None:
    loose = manifests()
    loose["reference-rail"]["sidecar"]["permit"]["lifetime_s"] = 3600
    mirror.put_release(mirror.world.draft(2, mirror.world.files(manifests=loose)))
    refused(following, "RELEASE_MANIFEST")


def test_a_manifest_under_another_services_name(mirror: Mirror, following: ReleaseFollower) -> None:
    swapped = manifests()
    swapped["reference-rail"] = swapped["core-ledger"]
    mirror.put_release(mirror.world.draft(2, mirror.world.files(manifests=swapped)))
    refused(following, "RELEASE_MANIFEST")


def test_an_engine_that_does_not_take_the_policy(mirror: Mirror, following: ReleaseFollower) -> None:
    def broken(release: Any) -> None:
        if release.number == 2:
            raise ValueError("does not compile")

    following._self_test = broken
    mirror.put_release(mirror.world.draft(2))
    refused(following, "RELEASE_ENGINE")


def test_an_invariant_that_does_not_hold_here(mirror: Mirror, following: ReleaseFollower) -> None:
    def broken(_release: Any) -> None:
        raise NotTrusted("RELEASE_INVARIANT", "INV-018")

    following._self_test = broken
    mirror.put_release(mirror.world.draft(2))
    refused(following, "RELEASE_INVARIANT")
