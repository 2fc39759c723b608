"""Attacks whose tests stand beside the module that they are about; each row's code stands in its test or its test's helper."""

from __future__ import annotations

from tests.attacks.index import Attack

_R, _P, _O = "tests/releases", "tests/policy/test_opa_bundle.py", "tests/contracts/test_orders.py"
_RULES, _CONTENTS, _TRUST = "contracts.release.rules", "contracts.release.contents", "contracts.release.trust"
_ORDERS = "contracts.orders"

ELSEWHERE: list[Attack] = [
    Attack("a proposal that is about something else", f"8 {_CONTENTS}", "RELEASE_PROPOSAL",
           f"{_R}/test_refusals.py::test_a_proposal_that_is_about_something_else"),
    Attack("a proposal's signature made for another purpose", f"8 {_CONTENTS}", "RELEASE_PROPOSAL",
           f"{_R}/test_refusals.py::test_a_proposal_signed_for_another_purpose"),
    Attack("a gate result that failed, or in which nothing ran", f"9 {_CONTENTS}", "RELEASE_GATE",
           f"{_R}/test_refusals.py::test_a_gate_result_that_is_no_pass"),
    Attack("a gate result signed by the proposer", f"9 {_CONTENTS}", "RELEASE_GATE",
           f"{_R}/test_refusals.py::test_a_gate_result_signed_by_the_proposer"),
    Attack("a release in force that is revoked", f"12 {_RULES}", "RELEASE_REVOKED",
           f"{_R}/test_refusals.py::test_a_release_in_force_that_is_revoked_stops"),
    Attack("a wildcard outside the sandbox", f"13 {_CONTENTS}", "RELEASE_WILDCARD",
           f"{_R}/test_production.py::test_a_wildcard_outside_the_sandbox"),
    Attack("sandbox's role under production's name, by the same officers", f"6 {_RULES}", "RELEASE_ENVIRONMENT",
           f"{_R}/test_production.py::test_sandbox_signed_by_the_same_officers_is_not_production"),
    Attack("a manifest that loosens a bound of its schema", f"13 {_CONTENTS}", "RELEASE_MANIFEST",
           f"{_R}/test_contents.py::test_a_manifest_that_loosens_a_bound_of_the_schema"),
    Attack("a policy that the engine does not take", "15 contracts.release.follower", "RELEASE_ENGINE",
           f"{_R}/test_contents.py::test_an_engine_that_does_not_take_the_policy"),
    Attack("an invariant that does not hold in this service", "15 contracts.release.follower", "RELEASE_INVARIANT",
           f"{_R}/test_contents.py::test_an_invariant_that_does_not_hold_here"),
    Attack("a custodian's key in capitals, to stand in two roles", f"5 {_TRUST}", "RELEASE_KEY_REUSED",
           f"{_R}/test_trust.py::test_upper_case_does_not_make_another_key"),
    Attack("a durable record that is asked to go back", "10 contracts.release.record", "RELEASE_ROLLBACK",
           f"{_R}/test_follower.py::test_the_record_never_goes_back"),
    Attack("a token written in another way (base64url has more than one)", "form contracts.opa_bundle", "RELEASE_BUNDLE",
           f"{_P}::test_a_token_written_in_another_way_is_refused"),
    Attack("every single byte of the archive changed", "form contracts.bundle_archive", "RELEASE_BUNDLE",
           "tests/policy/test_bundle_archive.py::test_every_single_changed_byte_of_the_tar_is_refused_or_changes_a_file"),
    Attack("an unsigned order", f"2 {_ORDERS}", "ORDER_SIGNATURE", f"{_O}::test_an_unsigned_order_is_refused"),
    Attack("an order by an officer who was removed", f"2 {_ORDERS}", "OFFICER_UNKNOWN",
           f"{_O}::test_an_officer_who_was_removed_orders_nothing"),
    Attack("an order by an officer whom the release does not list for it", f"2 {_ORDERS}", "ORDER_SIGNER",
           f"{_O}::test_an_officer_whom_the_release_does_not_list_orders_nothing"),
    Attack("an order lifted by too few officers", f"7 {_ORDERS}", "ORDER_LIFT_THRESHOLD",
           f"{_O}::test_a_lift_below_the_threshold_is_refused"),
    Attack("an order lifted by one officer under two key ids", f"7 {_ORDERS}", "ORDER_LIFT_THRESHOLD",
           f"{_O}::test_one_key_under_two_ids_lifts_nothing"),
    Attack("a lift of another content of the number", f"7 {_ORDERS}", "ORDER_UNKNOWN",
           f"{_O}::test_a_lift_of_another_content_of_the_number_is_refused"),
    Attack("a lift dated ahead", f"3 {_ORDERS}", "ORDER_TIME",
           f"{_O}::test_a_lift_dated_ahead_or_of_another_environment_is_refused"),
    Attack("a flood of orders", f"1 {_ORDERS}", "ORDER_INVALID",
           f"{_O}::test_a_flood_of_orders_is_bounded_and_a_distant_number_costs_nothing"),
]  # fmt: skip
