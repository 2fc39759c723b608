# METADATA
# title: The book rail's policy
# description: |
#   Which payments may be posted (POL-09): one decision for each item of the input, keyed by its index.
#
#   Rules of this package, so that an auditor can hold it to them:
#
#   * deny by default: a payment passes only when it is well formed and every check passes (POL-12, POL-16);
#   * checks are positive (`passes(code, item) if ...`): what is missing, null or of another type never passes, so
#     the trap of `deny if not list[input.missing]`, which OPA answers with "allow", cannot arise;
#   * no clock, no randomness, no network (capabilities.json): the same input gives the same bytes, always;
#   * no `with`: lists are read once a batch, not once a payment;
#   * lists, caps and hours are data (`data.environment`), so that changing them needs no rebuild.
#
#   Not here: who may speak for which agent (fixed code, AGENT_MISMATCH), and the daily caps, which are exact only in
#   the transaction that records the payment (CAP_DAILY_VALUE, CAP_DAILY_COUNT).
package symphony.payments

# METADATA
# title: Decisions
# description: |
#   {"0": {"allow": boolean, "reasons": [code], "obligations": {...}}, "1": ...}; an index without an answer is a deny.
# entrypoint: true
decisions[key] := answer if {
	some index, item in input.items
	key := format_int(index, 10)
	answer := decision(item)
}

# Every check of a payment, in the order in which reasons are given.
checks := [
	"NOT_ALLOWED_PARTICIPANT",
	"NOT_ALLOWED_MESSAGE_TYPE",
	"NOT_ALLOWED_AGENT",
	"NOT_ALLOWED_CURRENCY",
	"NOT_ALLOWED_SETTLEMENT_METHOD",
	"SETTLEMENT_DATE",
	"CAP_PAYMENT_VALUE",
	"OUTSIDE_HOURS",
]

# What an allowed payment must be treated with: one route, no hold, no second approval on this rail.
obligations := {"routes": ["primary"], "hold": false, "second_approval": false}

decision(item) := {"allow": count(reasons) == 0, "reasons": reasons, "obligations": obligations} if {
	well_formed(item)
	reasons := [code | some code in checks; not passes(code, item)]
}

decision(item) := {"allow": false, "reasons": ["INPUT_INVALID"], "obligations": obligations} if {
	not well_formed(item)
}
