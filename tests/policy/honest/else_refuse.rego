# The last else refuses.
package symphony.payments

allowed(item) if {
	item.rail.window_open == true
	item.rail.is_business_day == true
} else := false
