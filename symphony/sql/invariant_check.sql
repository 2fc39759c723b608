-- One check of an invariant, after the rows that several checks ask about (invariants/checks/common.sql).
WITH
{common}
{check}
