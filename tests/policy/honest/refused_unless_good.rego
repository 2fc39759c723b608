# A negation of a positive helper.
package symphony.payments

good(item) if item.instruction.instructed_agent in data.environment.permitted.agents

refusals(item) := {"agent" | not good(item)}

allowed(item) if count(refusals(item)) == 0
