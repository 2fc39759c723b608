# Settlement dates: from the business date to so many days after it. Calendar arithmetic in whole days of the
# proleptic Gregorian calendar, because `time.*` is not among the capabilities.
package symphony.payments

passes("SETTLEMENT_DATE", _) if wildcard("dates")

# No date is the business date.
passes("SETTLEMENT_DATE", item) if is_null(item.instruction.settlement_date)

passes("SETTLEMENT_DATE", item) if item.instruction.settlement_date == item.rail.business_date

passes("SETTLEMENT_DATE", item) if {
	ahead := day_number(item.instruction.settlement_date) - day_number(item.rail.business_date)
	ahead >= 0
	ahead <= data.environment.permitted.settlement_days_ahead_max
}

is_date(text) if day_number(text)

# Days since 0000-03-01, for a real date written YYYY-MM-DD; undefined for anything else.
day_number(text) := number if {
	is_string(text)
	count(text) == 10
	substring(text, 4, 1) == "-"
	substring(text, 7, 1) == "-"
	year := digits(text, 0, 4)
	month := digits(text, 5, 2)
	day := digits(text, 8, 2)
	year >= 1
	month >= 1
	month <= 12
	day >= 1
	day <= month_length(year, month)
	shifted := year - march_year_offset(month)
	leap_days := (floor(shifted / 4) - floor(shifted / 100)) + floor(shifted / 400)
	number := (((365 * shifted) + leap_days) + floor(((153 * march_month(month)) + 2) / 5)) + (day - 1)
}

# Decimal digits as a number. The leading 1 keeps "08" a valid number, and is taken off again.
digits(text, start, length) := number if {
	part := substring(text, start, length)
	every position in numbers.range(0, length - 1) {
		substring(part, position, 1) in {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}
	}
	number := to_number(concat("", ["1", part])) - powers_of_ten[length]
}

powers_of_ten := {2: 100, 4: 10000}

# Years that begin in March put the leap day last.
march_year_offset(month) := 1 if month <= 2

march_year_offset(month) := 0 if month > 2

march_month(month) := (month + 9) % 12

month_length(_, month) := 31 if month in {1, 3, 5, 7, 8, 10, 12}

month_length(_, month) := 30 if month in {4, 6, 9, 11}

month_length(year, 2) := 29 if leap_year(year)

month_length(year, 2) := 28 if not leap_year(year)

leap_year(year) if {
	year % 4 == 0
	year % 100 != 0
}

leap_year(year) if year % 400 == 0
