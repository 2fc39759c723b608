# Trap: what no rule speaks of is allowed.
package symphony.payments

default allowed(_) := true

allowed(item) := false if item.instruction.amount_minor > 1000
