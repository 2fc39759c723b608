# A field that may be null, and its other form.
package symphony.payments

allowed(item) if item.instruction.debtor_country == null

allowed(item) if item.instruction.debtor_country in {"ZM", "US"}
