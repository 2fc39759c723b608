# Trap: everything but false is true, null and 0 too.
package symphony.payments

allowed(item) if item.rail.window_open
