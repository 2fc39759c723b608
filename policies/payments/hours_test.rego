package symphony.payments_test

test_outside_the_window_or_on_a_holiday_is_refused_where_hours_are_enforced if {
	every rail in [{"window_open": false}, {"is_business_day": false}, {"window_open": false, "is_business_day": false}] {
		refused(railed(rail), environment, ["OUTSIDE_HOURS"])
		allowed(railed(rail), permitting({"hours": {"enforced": false}}))
	}
}

test_inside_the_window_is_allowed_where_hours_are_enforced if {
	allowed(payment, permitting({"hours": {"enforced": true}}))
}

test_hours_that_say_nothing_are_enforced if {
	silent := json.remove(environment, ["permitted/hours"])
	refused(railed({"window_open": false}), silent, ["OUTSIDE_HOURS"])
	allowed(payment, silent)
}
