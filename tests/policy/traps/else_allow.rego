# Trap: the last else allows.
package symphony.payments

allowed(item) := false if {
	item.instruction.currency != "ZMW"
} else := true
