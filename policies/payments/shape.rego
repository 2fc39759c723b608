# The shape that every other rule relies on. The host checks the whole input against its JSON Schema first; this
# holds even without it, so that no probe with a field removed, nulled or retyped is ever allowed (design section 5).
package symphony.payments

well_formed(item) if {
	item.environment == data.environment.environment
	is_string(item.participant_id)
	well_formed_rail(item.rail)
	well_formed_instruction(item.instruction)
}

well_formed_rail(rail) if {
	is_date(rail.business_date)
	is_boolean(rail.is_business_day)
	is_boolean(rail.window_open)
}

well_formed_instruction(instruction) if {
	is_string(instruction.message_type)
	is_string(instruction.currency)
	is_agent(instruction.instructed_agent)
	instruction.settlement_method in {"INDA", "INGA", "COVE", "CLRG"}
	is_amount(instruction.amount_minor)
	is_date_or_null(instruction.settlement_date)
}

# The schema's bounds: also where any agent is admitted, an agent is named.
is_agent(agent) if {
	is_string(agent)
	count(agent) >= 3
	count(agent) <= 80
}

# Minor units: a whole number from 1 to 2^53-1 (design section 8); `floor` refuses a fraction.
is_amount(amount) if {
	is_number(amount)
	amount >= 1
	amount <= 9007199254740991
	floor(amount) == amount
}

is_date_or_null(date) if is_null(date)

is_date_or_null(date) if is_date(date)
