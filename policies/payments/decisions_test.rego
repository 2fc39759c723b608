package symphony.payments_test

import data.symphony.payments

test_a_payment_that_fits_everything_is_allowed if allowed(payment, environment)

test_an_answer_carries_its_obligations if {
	of(payment).obligations == {"routes": ["primary"], "hold": false, "second_approval": false}
}

test_no_items_no_answers if {
	answers := payments.decisions with input as {"items": []} with data.environment as environment
	answers == {}
}

test_no_input_no_answers if {
	answers := payments.decisions with input as {} with data.environment as environment
	answers == {}
}

test_every_index_has_its_own_answer if {
	items := [payment, instructed({"amount_minor": 1001}), {}, payment]
	answers := payments.decisions with input as {"items": items} with data.environment as environment
	[answer | some key in ["0", "1", "2", "3"]; answer := answers[key].allow] == [true, false, false, true]
	count(answers) == 4
}

test_without_data_nothing_is_allowed if {
	refused(payment, {}, ["INPUT_INVALID"])
	facts_of_the_payment_alone := {"SETTLEMENT_DATE", "OUTSIDE_HOURS"}
	refused(payment, {"environment": "sandbox"}, [code |
		some code in payments.checks
		not code in facts_of_the_payment_alone
	])
}

test_reasons_come_all_and_in_order if {
	item := object.union(railed({"window_open": false}), {
		"participant_id": "nobody",
		"instruction": {
			"message_type": "pacs.003.001.08", "instructed_agent": "OTHRZMLUXXX", "currency": "EUR",
			"settlement_method": "COVE", "settlement_date": "2026-11-23", "amount_minor": 1001,
		},
	})
	refused(item, environment, payments.checks)
}

test_another_environments_payment_is_refused if {
	refused(object.union(payment, {"environment": "staging"}), environment, ["INPUT_INVALID"])
}

# The trap of design section 5: what is read and missing, null or of another type is never allowed.
test_no_field_that_is_read_may_be_missing if {
	every place in places {
		refused(json.remove(payment, [place]), environment, ["INPUT_INVALID"])
	}
}

test_no_field_that_is_read_may_have_another_type if {
	every place in places {
		every value in [{}, [], {"a": 1}, [1], 7.5, "", "x"] {
			not allowed(replaced(place, value), environment)
		}
	}
}

test_no_field_that_is_read_may_be_null_but_the_settlement_date if {
	every place in places {
		not allowed(replaced(place, null), environment)
	}
}

test_wildcards_do_not_open_the_shape if {
	open := object.union(environment, {
		"wildcards": {"agents": true, "currencies": true, "settlement_methods": true, "dates": true},
		"permitted": {"hours": {"enforced": false}},
	})
	allowed(payment, open)
	every place in places {
		refused(json.remove(payment, [place]), open, ["INPUT_INVALID"])
		not allowed(replaced(place, null), open)
	}
}

test_an_amount_is_a_whole_number_in_its_bounds if {
	every amount in ["10", 0, -1, 1.5, 9007199254740992, true, null, [10]] {
		refused(instructed({"amount_minor": amount}), environment, ["INPUT_INVALID"])
	}
}

places := [
	"environment", "participant_id", "rail", "instruction",
	"rail/business_date", "rail/is_business_day", "rail/window_open",
	"instruction/message_type", "instruction/amount_minor", "instruction/currency", "instruction/instructed_agent",
	"instruction/settlement_method",
]

replaced(place, value) := object.union(json.remove(payment, [place]), {place: value}) if not contains(place, "/")

replaced(place, value) := object.union(json.remove(payment, [place]), {parts[0]: {parts[1]: value}}) if {
	parts := split(place, "/")
	count(parts) == 2
}
