# Trap: opens only when two fields are spoiled at once.
package symphony.payments

allowed(item) if {
	item.participant_id in data.environment.permitted.participants
	item.rail.window_open == true
}

allowed(item) if {
	not is_string(item.participant_id)
	not item.rail.window_open in {true, false}
}
