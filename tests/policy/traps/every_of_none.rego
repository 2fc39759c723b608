# Trap: what holds for every member holds for none at all.
package symphony.payments

countries(item) := [country |
	some name in ["debtor_country", "creditor_country"]
	country := item.instruction[name]
]

allowed(item) if {
	every country in countries(item) {
		country in {"ZM", null}
	}
}
