package symphony.payments_test

import data.symphony.payments

test_from_the_business_date_to_so_many_days_ahead if {
	every date in ["2026-11-24", "2026-11-25", "2026-11-29", null] {
		allowed(instructed({"settlement_date": date}), environment)
	}
	every date in ["2026-11-23", "2026-11-30", "2025-11-24", "2027-11-24"] {
		refused(instructed({"settlement_date": date}), environment, ["SETTLEMENT_DATE"])
	}
}

test_the_count_of_days_crosses_months_years_and_leap_days if {
	spans := [
		["2026-11-28", "2026-12-03", 5], ["2026-12-31", "2027-01-01", 1], ["2028-02-28", "2028-03-01", 2],
		["2027-02-28", "2027-03-01", 1], ["2100-02-28", "2100-03-01", 1], ["2000-02-28", "2000-03-01", 2],
		["1970-01-01", "2026-11-24", 20781], ["2026-01-01", "2026-12-31", 364], ["0001-01-01", "9999-12-31", 3652058],
	]
	every span in spans {
		payments.day_number(span[1]) - payments.day_number(span[0]) == span[2]
	}
}

test_no_day_of_a_leap_year_is_left_out if {
	lengths := [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
	every index, length in lengths {
		payments.month_length(2028, index + 1) == length
	}
	payments.month_length(2027, 2) == 28
	payments.month_length(2000, 2) == 29
	payments.month_length(2100, 2) == 28
}

test_what_is_no_date_is_refused if {
	texts := [
		"", "2026-11-31", "2026-02-29", "2026-00-10", "2026-13-10", "2026-10-00", "0000-01-01", "2026/11/24",
		"2026-1124-", "26-11-24", "2026-11-24Z", "2026-11-2a", "a026-11-24", "2026-1 -24", "+026-11-24", "2026-11-2²",
		"2026-1e-24", "2026-1.-24", "2026-11-.5", "2026-11-+5", "20e6-11-24", "2026--1-24", "2026-1--24", "1_26-11-24",
	]
	every text in texts {
		not payments.day_number(text)
		not allowed(instructed({"settlement_date": text}), environment)
		not allowed(object.union(railed({"business_date": text}), {"instruction": {"settlement_date": "2026-11-24"}}), environment)
	}
	refused(instructed({"settlement_date": 20261124}), environment, ["INPUT_INVALID"])
	refused(instructed({"settlement_date": "20261124"}), wild("dates"), ["INPUT_INVALID"])
	refused(railed({"business_date": "today"}), wild("dates"), ["INPUT_INVALID"])
}

test_any_real_date_where_the_sandbox_says_so if {
	every date in ["1999-12-31", "2099-01-01"] {
		allowed(instructed({"settlement_date": date}), wild("dates"))
	}
}
