# The default of object.get is a bad value.
package symphony.payments

allowed(item) if object.get(item.rail, "window_open", false) == true
