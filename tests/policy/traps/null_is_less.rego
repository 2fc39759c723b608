# Trap: null is less than any number.
package symphony.payments

allowed(item) if item.instruction.amount_minor <= 1000000
