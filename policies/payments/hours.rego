# Business hours: on a business day and inside the rail's window, where the environment enforces hours. The host
# freezes both facts into the input (time zone, calendar, cut-off), so that the decision can be made again.
package symphony.payments

passes("OUTSIDE_HOURS", item) if {
	item.rail.is_business_day == true
	item.rail.window_open == true
}

passes("OUTSIDE_HOURS", _) if data.environment.permitted.hours.enforced == false
