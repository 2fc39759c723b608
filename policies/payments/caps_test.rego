package symphony.payments_test

largest := 9007199254740991

test_the_cap_itself_is_allowed_and_one_more_is_not if {
	allowed(instructed({"amount_minor": 1000}), environment)
	refused(instructed({"amount_minor": 1001}), environment, ["CAP_PAYMENT_VALUE"])
}

test_a_participants_own_cap_stands_before_the_environments if {
	own := object.union(instructed({"amount_minor": 501}), {"participant_id": "kafue-bank"})
	refused(own, environment, ["CAP_PAYMENT_VALUE"])
	allowed(object.union(own, {"instruction": {"amount_minor": 500}}), environment)
	other := {"instruction": {"amount_minor": 200, "currency": "USD"}}
	allowed(object.union(own, other), environment)
}

test_no_cap_is_a_refusal if {
	refused(payment, object.remove(environment, ["caps"]), ["CAP_PAYMENT_VALUE"])
	refused(payment, object.union(environment, {"caps": {"ZMW": {"payment_minor_max": 0}}}), ["CAP_PAYMENT_VALUE"])
}

test_the_star_is_a_cap_for_any_currency_in_a_sandbox_only if {
	star := object.union(object.remove(environment, ["caps"]), {"caps": {"*": {"payment_minor_max": 1000}}})
	allowed(payment, star)
	live := object.union(star, {"environment": "production"})
	refused(object.union(payment, {"environment": "production"}), live, ["CAP_PAYMENT_VALUE"])
}

test_a_participants_star_stands_before_the_environments_currency_in_a_sandbox_only if {
	own := {
		"id": "mutinondo-bank", "status": "active", "message_types": ["pacs.008"],
		"caps": {"*": {"payment_minor_max": 1}},
	}
	starred := object.union(environment, {"participants": [own]})
	refused(payment, starred, ["CAP_PAYMENT_VALUE"])
	live := object.union(starred, {"environment": "production"})
	allowed(object.union(payment, {"environment": "production"}), live)
}

test_the_largest_amount_is_compared_exactly if {
	below := object.union(environment, {"caps": {"ZMW": {"payment_minor_max": largest - 1}}})
	at := object.union(environment, {"caps": {"ZMW": {"payment_minor_max": largest}}})
	refused(instructed({"amount_minor": largest}), below, ["CAP_PAYMENT_VALUE"])
	allowed(instructed({"amount_minor": largest - 1}), below)
	allowed(instructed({"amount_minor": largest}), at)
}
