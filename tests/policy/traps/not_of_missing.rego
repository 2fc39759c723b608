# Trap: a field that is not there is not among the bad ones.
package symphony.payments

allowed(item) if not item.instruction.kind in {"return", "reversal"}
