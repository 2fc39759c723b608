# A payment that passes, an environment that admits it, and how the tests change them.
package symphony.payments_test

import data.symphony.payments

environment := {
	"environment": "sandbox",
	"wildcards": {"agents": false, "currencies": false, "settlement_methods": false, "dates": false},
	"participants": [
		{
			"id": "kafue-bank", "status": "active", "message_types": ["pacs.008", "pacs.009"],
			"caps": {"ZMW": {"payment_minor_max": 500}},
		},
		{"id": "mutinondo-bank", "status": "active", "message_types": ["pacs.008"]},
		{"id": "luangwa-bank", "status": "suspended", "message_types": ["pacs.008"]},
		{"id": "kariba-bank", "status": "active", "message_types": ["pacs.008"]},
	],
	"currencies": {
		"ZMW": {"exponent": 2, "money": true},
		"USD": {"exponent": 2, "money": true},
		"EUR": {"exponent": 2, "money": true},
		"XAU": {"exponent": 0, "money": false},
	},
	"caps": {"ZMW": {"payment_minor_max": 1000}, "USD": {"payment_minor_max": 200}, "XAU": {"payment_minor_max": 9}},
	"permitted": {
		"participants": ["kafue-bank", "mutinondo-bank", "luangwa-bank", "ghost-bank"],
		"agents": ["MTNDZMLUXXX"],
		"currencies": ["ZMW", "USD", "XAU"],
		"settlement_methods": ["CLRG", "INDA"],
		"settlement_days_ahead_max": 5,
		"hours": {"enforced": true},
	},
}

payment := {
	"environment": "sandbox",
	"participant_id": "mutinondo-bank",
	"rail": {"business_date": "2026-11-24", "is_business_day": true, "window_open": true},
	"instruction": {
		"message_type": "pacs.008.001.08",
		"amount_minor": 1000,
		"currency": "ZMW",
		"instructed_agent": "MTNDZMLUXXX",
		"settlement_method": "CLRG",
		"settlement_date": "2026-11-24",
	},
}

# The payment with another value at one place of its instruction.
instructed(changes) := object.union(payment, {"instruction": changes})

railed(changes) := object.union(payment, {"rail": changes})

permitting(changes) := object.union(environment, {"permitted": changes})

wild(name) := object.union(environment, {"wildcards": {name: true}})

of(item) := under(item, environment)

under(item, data_environment) := answers["0"] if {
	answers := payments.decisions with input as {"items": [item]} with data.environment as data_environment
}

allowed(item, data_environment) if {
	decision := under(item, data_environment)
	decision.allow == true
	decision.reasons == []
}

refused(item, data_environment, reasons) if {
	decision := under(item, data_environment)
	decision.allow == false
	decision.reasons == reasons
}
