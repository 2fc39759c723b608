# Trap: OPA takes the field out of the negation, so that without it the refusal is undefined (opa#8387).
package symphony.payments

listed := {agent: true | some agent in data.environment.permitted.agents}

refusals(item) := {"agent" | not listed[item.instruction.instructed_agent]}

allowed(item) if count(refusals(item)) == 0
