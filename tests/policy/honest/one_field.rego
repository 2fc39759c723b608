# Reads one field; the others are none of its business.
package symphony.payments

allowed(item) if item.instruction.kind == "transfer"
