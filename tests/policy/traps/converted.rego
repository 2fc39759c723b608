# Trap: to_number makes a number of null, of true and of text.
package symphony.payments

allowed(item) if to_number(item.instruction.amount_minor) <= 1000000
