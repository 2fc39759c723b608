-- Append-only by privilege (nobody has UPDATE, DELETE, TRUNCATE), row trigger and statement-level TRUNCATE trigger (D11).

CREATE FUNCTION ledger.deny_mutation() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, ledger, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = '42501';
END
$$;

CREATE FUNCTION ledger.deny_lower_mark() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, ledger, pg_temp AS $$
BEGIN
    IF NEW.instruction_id <> OLD.instruction_id OR (NEW.epoch, NEW.attempt) <= (OLD.epoch, OLD.attempt) THEN
        RAISE EXCEPTION 'a permit mark only rises' USING ERRCODE = '42501';
    END IF;
    RETURN NEW;
END
$$;

-- The lines of a posting come together, in one statement: two, opposite, of its amount, in accounts of its currency.
CREATE FUNCTION ledger.check_lines() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, ledger, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    IF EXISTS (
        SELECT 1
        FROM added AS a
        LEFT JOIN ledger.postings AS p ON p.posting_id = a.posting_id
        LEFT JOIN ledger.accounts AS c ON c.account_id = a.account_id
        GROUP BY a.posting_id
        HAVING count(*) <> 2 OR sum(a.amount_minor) <> 0
            OR max(a.amount_minor) IS DISTINCT FROM max(p.amount_minor)
            OR bool_or(c.currency IS DISTINCT FROM p.currency)
    ) THEN
        RAISE EXCEPTION 'the lines of a posting do not balance' USING ERRCODE = '23514';
    END IF;
    RETURN NULL;
END
$$;

-- At commit, a posting has its lines.
CREATE FUNCTION ledger.check_posting() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, ledger, pg_temp AS $$
BEGIN
    IF (SELECT count(*) FROM ledger.lines AS l WHERE l.posting_id = NEW.posting_id) <> 2 THEN
        RAISE EXCEPTION 'a posting has two lines' USING ERRCODE = '23514';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER trg_lines_balanced AFTER INSERT ON ledger.lines REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.check_lines();
CREATE CONSTRAINT TRIGGER trg_postings_have_lines AFTER INSERT ON ledger.postings DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION ledger.check_posting();

CREATE TRIGGER trg_accounts_append_only BEFORE UPDATE OR DELETE ON ledger.accounts
    FOR EACH ROW EXECUTE FUNCTION ledger.deny_mutation();
CREATE TRIGGER trg_accounts_not_truncated BEFORE TRUNCATE ON ledger.accounts
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.deny_mutation();
CREATE TRIGGER trg_postings_append_only BEFORE UPDATE OR DELETE ON ledger.postings
    FOR EACH ROW EXECUTE FUNCTION ledger.deny_mutation();
CREATE TRIGGER trg_postings_not_truncated BEFORE TRUNCATE ON ledger.postings
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.deny_mutation();
CREATE TRIGGER trg_lines_append_only BEFORE UPDATE OR DELETE ON ledger.lines
    FOR EACH ROW EXECUTE FUNCTION ledger.deny_mutation();
CREATE TRIGGER trg_lines_not_truncated BEFORE TRUNCATE ON ledger.lines
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.deny_mutation();
CREATE TRIGGER trg_seals_append_only BEFORE UPDATE OR DELETE ON ledger.seals
    FOR EACH ROW EXECUTE FUNCTION ledger.deny_mutation();
CREATE TRIGGER trg_seals_not_truncated BEFORE TRUNCATE ON ledger.seals
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.deny_mutation();
CREATE TRIGGER trg_releases_append_only BEFORE UPDATE OR DELETE ON ledger.accepted_releases
    FOR EACH ROW EXECUTE FUNCTION ledger.deny_mutation();
CREATE TRIGGER trg_releases_not_truncated BEFORE TRUNCATE ON ledger.accepted_releases
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.deny_mutation();
CREATE TRIGGER trg_marks_only_rise BEFORE UPDATE ON ledger.permit_marks
    FOR EACH ROW EXECUTE FUNCTION ledger.deny_lower_mark();
CREATE TRIGGER trg_marks_kept BEFORE DELETE ON ledger.permit_marks
    FOR EACH ROW EXECUTE FUNCTION ledger.deny_mutation();
CREATE TRIGGER trg_marks_not_truncated BEFORE TRUNCATE ON ledger.permit_marks
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.deny_mutation();
