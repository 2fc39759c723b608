# The cap for one payment. The first that stands counts: the participant's for the currency, the participant's "*",
# the environment's for the currency, the environment's "*". "*" counts in a sandbox only; no cap is a deny.
package symphony.payments

passes("CAP_PAYMENT_VALUE", item) if {
	item.instruction.amount_minor <= cap(item.participant_id, item.instruction.currency).payment_minor_max
}

cap(participant_id, currency) := limits if {
	limits := participants[participant_id].caps[currency]
} else := limits if {
	data.environment.environment == "sandbox"
	limits := participants[participant_id].caps["*"]
} else := limits if {
	limits := data.environment.caps[currency]
} else := limits if {
	data.environment.environment == "sandbox"
	limits := data.environment.caps["*"]
}
