# Every field is demanded, with its type and bounds.
package symphony.payments

allowed(item) if {
	item.participant_id in data.environment.permitted.participants
	item.instruction.currency in data.environment.permitted.currencies
	amount := item.instruction.amount_minor
	is_number(amount)
	floor(amount) == amount
	amount >= 1
	caps := data.environment.caps
	amount <= caps[item.instruction.currency].payment_minor_max
}
