# Settlement dates: from the business date to so many days after it. Calendar arithmetic in whole days of the
# proleptic Gregorian calendar, because `time.*` is not among the capabilities.
package symphony.payments

passes("SETTLEMENT_DATE", item) if settlement_date_permitted(item.instruction.settlement_date, item.rail.business_date)

# No date is the business date. `else` stops at the first that holds, so that days are counted only where they must be.
settlement_date_permitted(date, business_date) if {
	wildcard("dates")
} else if {
	is_null(date)
} else if {
	date == business_date
	is_date(date)
} else if {
	ahead := day_number(date) - day_number(business_date)
	ahead >= 0
	ahead <= data.environment.permitted.settlement_days_ahead_max
}

# The cheap look that every payment gets; `day_number` is the strict one.
is_date(text) if {
	is_string(text)
	count(text) == 10
	text >= "0001-01-01"
	text <= "9999-12-31"
}

# Days since 0000-03-01, for a real date written YYYY-MM-DD; undefined for anything else.
day_number(text) := number if {
	is_date(text)
	parts := split(text, "-")
	[count(part) | some part in parts] == [4, 2, 2]
	year := digits(parts[0], 10000)
	month := digits(parts[1], 100)
	day := digits(parts[2], 100)
	day >= 1
	day <= month_length(year, month)
	shifted := year - before_march[month]
	leap_days := (floor(shifted / 4) - floor(shifted / 100)) + floor(shifted / 400)
	number := (((365 * shifted) + leap_days) + days_from_march[month]) + (day - 1)
}

# Decimal digits as a number. A leading 1 keeps "08" a valid number and is taken off again.
digits(text, leading_one) := to_number(concat("", ["1", text])) - leading_one if trim(text, "0123456789") == ""

# Years that begin in March put the leap day last.
before_march := {1: 1, 2: 1, 3: 0, 4: 0, 5: 0, 6: 0, 7: 0, 8: 0, 9: 0, 10: 0, 11: 0, 12: 0}

days_from_march := {
	3: 0, 4: 31, 5: 61, 6: 92, 7: 122, 8: 153, 9: 184, 10: 214, 11: 245, 12: 275,
	1: 306, 2: 337,
}

month_lengths := {1: 31, 2: 28, 3: 31, 4: 30, 5: 31, 6: 30, 7: 31, 8: 31, 9: 30, 10: 31, 11: 30, 12: 31}

month_length(year, month) := 29 if {
	month == 2
	leap_year(year)
} else := month_lengths[month]

leap_year(year) if {
	year % 4 == 0
	year % 100 != 0
}

leap_year(year) if year % 400 == 0
