# Allow-lists: participants, message types, agents, currencies, settlement methods (POL-09). An empty list admits
# nobody. Wildcards count in a sandbox only, whatever the data say.
package symphony.payments

passes("NOT_ALLOWED_PARTICIPANT", item) if {
	item.participant_id in data.environment.permitted.participants
	participants[item.participant_id].status == "active"
}

passes("NOT_ALLOWED_MESSAGE_TYPE", item) if {
	some family in participants[item.participant_id].message_types
	startswith(item.instruction.message_type, concat("", [family, "."]))
}

passes("NOT_ALLOWED_AGENT", _) if wildcard("agents")

passes("NOT_ALLOWED_AGENT", item) if item.instruction.instructed_agent in data.environment.permitted.agents

passes("NOT_ALLOWED_CURRENCY", item) if {
	money(item.instruction.currency)
	wildcard("currencies")
}

passes("NOT_ALLOWED_CURRENCY", item) if {
	money(item.instruction.currency)
	item.instruction.currency in data.environment.permitted.currencies
}

passes("NOT_ALLOWED_SETTLEMENT_METHOD", _) if wildcard("settlement_methods")

passes("NOT_ALLOWED_SETTLEMENT_METHOD", item) if {
	item.instruction.settlement_method in data.environment.permitted.settlement_methods
}

# Gold, test codes and the like stand in the table with money = false; no wildcard makes them money.
money(currency) if data.environment.currencies[currency].money == true

wildcard(name) if {
	data.environment.environment == "sandbox"
	data.environment.wildcards[name] == true
}

# By id, built once a batch.
participants := {participant.id: participant | some participant in data.environment.participants}
