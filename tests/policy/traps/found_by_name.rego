# Trap: a field that is looked for by name and not found.
package symphony.payments

shut(item) if {
	some name, value in item.rail
	name == "window_open"
	value == false
}

allowed(item) if not shut(item)
