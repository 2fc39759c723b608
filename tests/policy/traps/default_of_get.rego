# Trap: the default of object.get is the good value.
package symphony.payments

allowed(item) if object.get(item.rail, "window_open", true) == true
