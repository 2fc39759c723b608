# Trap: the length of what is not there is undefined, so it is not too long.
package symphony.payments

too_long(item) if count(item.instruction.message_id) > 10

allowed(item) if not too_long(item)
