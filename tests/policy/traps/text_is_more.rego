# Trap: any text is more than any number.
package symphony.payments

allowed(item) if item.instruction.amount_minor >= 2
