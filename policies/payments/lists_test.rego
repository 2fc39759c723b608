package symphony.payments_test

test_a_participant_off_the_list_is_refused if {
	refused(object.union(payment, {"participant_id": "kariba-bank"}), environment, ["NOT_ALLOWED_PARTICIPANT"])
}

test_a_suspended_participant_is_refused if {
	refused(object.union(payment, {"participant_id": "luangwa-bank"}), environment, ["NOT_ALLOWED_PARTICIPANT"])
}

test_a_listed_name_without_a_participant_is_refused if {
	item := object.union(payment, {"participant_id": "ghost-bank"})
	refused(item, environment, ["NOT_ALLOWED_PARTICIPANT", "NOT_ALLOWED_MESSAGE_TYPE"])
}

test_an_empty_list_admits_nobody if {
	refused(payment, permitting({"participants": []}), ["NOT_ALLOWED_PARTICIPANT"])
	refused(payment, permitting({"agents": []}), ["NOT_ALLOWED_AGENT"])
	refused(payment, permitting({"currencies": []}), ["NOT_ALLOWED_CURRENCY"])
	refused(payment, permitting({"settlement_methods": []}), ["NOT_ALLOWED_SETTLEMENT_METHOD"])
}

test_message_types_go_by_family_and_not_by_prefix if {
	allowed(instructed({"message_type": "pacs.008.001.13"}), environment)
	refused(instructed({"message_type": "pacs.009.001.08"}), environment, ["NOT_ALLOWED_MESSAGE_TYPE"])
	refused(instructed({"message_type": "pacs.0081.001.08"}), environment, ["NOT_ALLOWED_MESSAGE_TYPE"])
	refused(instructed({"message_type": "pacs.008"}), environment, ["NOT_ALLOWED_MESSAGE_TYPE"])
}

test_an_agent_off_the_list_is_refused_unless_any_agent_is_admitted if {
	item := instructed({"instructed_agent": "LIBEDEFFXXX"})
	refused(item, environment, ["NOT_ALLOWED_AGENT"])
	allowed(item, wild("agents"))
}

test_a_currency_off_the_list_is_refused_unless_any_money_is_admitted if {
	item := instructed({"currency": "EUR", "amount_minor": 1})
	with_cap := object.union(environment, {"caps": {"EUR": {"payment_minor_max": 1}}})
	refused(item, with_cap, ["NOT_ALLOWED_CURRENCY"])
	allowed(item, object.union(with_cap, {"wildcards": {"currencies": true}}))
}

test_gold_is_not_money_even_on_the_list_or_under_a_wildcard if {
	item := instructed({"currency": "XAU", "amount_minor": 1})
	refused(item, environment, ["NOT_ALLOWED_CURRENCY"])
	refused(item, wild("currencies"), ["NOT_ALLOWED_CURRENCY"])
	unknown := instructed({"currency": "QTZ", "amount_minor": 1})
	refused(unknown, wild("currencies"), ["NOT_ALLOWED_CURRENCY", "CAP_PAYMENT_VALUE"])
}

test_a_settlement_method_off_the_list_is_refused_unless_any_is_admitted if {
	item := instructed({"settlement_method": "COVE"})
	refused(item, environment, ["NOT_ALLOWED_SETTLEMENT_METHOD"])
	allowed(item, wild("settlement_methods"))
}

test_wildcards_count_in_a_sandbox_only if {
	live := object.union(environment, {
		"environment": "production",
		"wildcards": {"agents": true, "currencies": true, "settlement_methods": true, "dates": true},
	})
	item := object.union(payment, {
		"environment": "production",
		"instruction": {
			"instructed_agent": "LIBEDEFFXXX", "currency": "EUR", "settlement_method": "COVE",
			"settlement_date": "1999-01-01",
		},
	})
	refused(item, live, [
		"NOT_ALLOWED_AGENT", "NOT_ALLOWED_CURRENCY", "NOT_ALLOWED_SETTLEMENT_METHOD", "SETTLEMENT_DATE",
		"CAP_PAYMENT_VALUE",
	])
}
