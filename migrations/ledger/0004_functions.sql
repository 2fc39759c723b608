-- The only writers of the ledger. Set-based: arrays of equal length, one element per item, an instruction at most once.
--
-- Rules (design section 3, "Permit"):
--   * the permit_marks row of an instruction is its lock, taken first and in the order of the ids, so no two calls deadlock;
--   * (epoch, attempt) below the highest seen, or equal with another purpose or other bytes → PERMIT_SUPERSEDED;
--     the mark rises even when the item is then refused, for it was seen;
--   * a posting is once per (instruction, purpose): the same bytes again → REPEATED, other bytes → POSTING_CONFLICT;
--   * only then is the account judged, so that a repeat is answered even when the release no longer admits the agent;
--   * a seal is a mark like any other: what is older can no longer post; it tells what is posted.
-- The caller has checked permit and schema (services.ledger); what is unusable here raises and rolls the whole call back.

-- p_admitted: whether the release of the permit admits both agents and the currency.
CREATE FUNCTION ledger.post(
    p_instruction uuid[], p_epoch bigint[], p_attempt bigint[], p_request bytea[],
    p_kind text[], p_rail text[], p_amount bigint[], p_currency text[], p_debit text[], p_credit text[],
    p_settlement date[], p_release bigint[], p_sidecar text[], p_key bytea[], p_leaf bytea[], p_admitted boolean[]
) RETURNS TABLE (item bigint, outcome text, posting_id uuid, posted_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, ledger, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    fresh bigint[];
BEGIN
    INSERT INTO ledger.permit_marks AS m (instruction_id, epoch, attempt, purpose, request_sha256)
    SELECT i.instruction_id, i.epoch, i.attempt, 'post', i.request
    FROM unnest(p_instruction, p_epoch, p_attempt, p_request) AS i (instruction_id, epoch, attempt, request)
    ORDER BY i.instruction_id
    ON CONFLICT (instruction_id) DO UPDATE
    SET epoch = excluded.epoch, attempt = excluded.attempt, purpose = excluded.purpose,
        request_sha256 = excluded.request_sha256
    WHERE (m.epoch, m.attempt) < (excluded.epoch, excluded.attempt);

    -- An item may act exactly when the mark is now its own; it is fresh when nothing is posted and it is admitted.
    fresh := ARRAY(
        SELECT i.item
        FROM unnest(p_instruction, p_epoch, p_attempt, p_request, p_admitted)
            WITH ORDINALITY AS i (instruction_id, epoch, attempt, request, admitted, item)
        JOIN ledger.permit_marks AS m ON m.instruction_id = i.instruction_id
            AND (m.epoch, m.attempt, m.purpose, m.request_sha256) = (i.epoch, i.attempt, 'post', i.request)
        WHERE i.admitted AND NOT EXISTS (
            SELECT 1 FROM ledger.postings AS p WHERE p.instruction_id = i.instruction_id AND p.purpose = 'post')
    );

    IF cardinality(fresh) > 0 THEN
        INSERT INTO ledger.accounts (agent, currency, opened_release)
        SELECT DISTINCT ON (a.agent, i.currency) a.agent, i.currency, i.release
        FROM unnest(p_debit, p_credit, p_currency, p_release)
            WITH ORDINALITY AS i (debit, credit, currency, release, item)
        CROSS JOIN LATERAL (VALUES (i.debit), (i.credit)) AS a (agent)
        WHERE i.item = ANY (fresh) AND NOT EXISTS (
            SELECT 1 FROM ledger.accounts AS c WHERE c.agent = a.agent AND c.currency = i.currency)
        ORDER BY a.agent, i.currency, i.release
        ON CONFLICT (agent, currency) DO NOTHING;

        WITH numbered AS MATERIALIZED (
            SELECT i.*, uuidv7() AS posting_id
            FROM unnest(p_instruction, p_epoch, p_attempt, p_request, p_kind, p_rail, p_amount, p_currency, p_debit,
                p_credit, p_settlement, p_release, p_sidecar, p_key, p_leaf)
                WITH ORDINALITY AS i (instruction_id, epoch, attempt, request, kind, rail, amount, currency, debit,
                credit, settlement, release, sidecar, key, leaf, item)
            WHERE i.item = ANY (fresh)
        ), posted AS (
            INSERT INTO ledger.postings (posting_id, instruction_id, purpose, kind, rail, amount_minor, currency,
                settlement_date, request_sha256, epoch, attempt, release_number, sidecar, key_id,
                attestation_leaf_hash, posted_at)
            SELECT n.posting_id, n.instruction_id, 'post', n.kind, n.rail, n.amount, n.currency,
                n.settlement, n.request, n.epoch, n.attempt, n.release, n.sidecar, n.key,
                n.leaf, uuid_extract_timestamp(n.posting_id)
            FROM numbered AS n
        )
        INSERT INTO ledger.lines (posting_id, side, account_id, amount_minor)
        SELECT n.posting_id, s.side, c.account_id, s.amount
        FROM numbered AS n
        CROSS JOIN LATERAL (VALUES ('D', n.debit, -n.amount), ('C', n.credit, n.amount)) AS s (side, agent, amount)
        JOIN ledger.accounts AS c ON c.agent = s.agent AND c.currency = n.currency;
    END IF;

    RETURN QUERY
    SELECT i.item,
        CASE
            WHEN (m.epoch, m.attempt, m.purpose, m.request_sha256) IS DISTINCT FROM (i.epoch, i.attempt, 'post', i.request)
                THEN 'PERMIT_SUPERSEDED'
            WHEN i.item = ANY (fresh) THEN 'POSTED'
            WHEN p.posting_id IS NULL THEN 'ACCOUNT_UNKNOWN'
            WHEN p.request_sha256 = i.request THEN 'REPEATED'
            ELSE 'POSTING_CONFLICT'
        END,
        p.posting_id, p.posted_at
    FROM unnest(p_instruction, p_epoch, p_attempt, p_request)
        WITH ORDINALITY AS i (instruction_id, epoch, attempt, request, item)
    JOIN ledger.permit_marks AS m ON m.instruction_id = i.instruction_id
    LEFT JOIN ledger.postings AS p ON p.instruction_id = i.instruction_id AND p.purpose = 'post'
    ORDER BY i.item;
END
$$;

CREATE FUNCTION ledger.seal(
    p_instruction uuid[], p_epoch bigint[], p_attempt bigint[], p_request bytea[],
    p_release bigint[], p_sidecar text[], p_key bytea[]
) RETURNS TABLE (item bigint, outcome text, posting_id uuid, posted_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, ledger, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO ledger.permit_marks AS m (instruction_id, epoch, attempt, purpose, request_sha256)
    SELECT i.instruction_id, i.epoch, i.attempt, 'seal', i.request
    FROM unnest(p_instruction, p_epoch, p_attempt, p_request) AS i (instruction_id, epoch, attempt, request)
    ORDER BY i.instruction_id
    ON CONFLICT (instruction_id) DO UPDATE
    SET epoch = excluded.epoch, attempt = excluded.attempt, purpose = excluded.purpose,
        request_sha256 = excluded.request_sha256
    WHERE (m.epoch, m.attempt) < (excluded.epoch, excluded.attempt);

    INSERT INTO ledger.seals (instruction_id, epoch, attempt, posting_id, release_number, sidecar, key_id)
    SELECT i.instruction_id, i.epoch, i.attempt, p.posting_id, i.release, i.sidecar, i.key
    FROM unnest(p_instruction, p_epoch, p_attempt, p_request, p_release, p_sidecar, p_key)
        AS i (instruction_id, epoch, attempt, request, release, sidecar, key)
    JOIN ledger.permit_marks AS m ON m.instruction_id = i.instruction_id
        AND (m.epoch, m.attempt, m.purpose, m.request_sha256) = (i.epoch, i.attempt, 'seal', i.request)
    LEFT JOIN ledger.postings AS p ON p.instruction_id = i.instruction_id AND p.purpose = 'post'
    ORDER BY i.instruction_id
    ON CONFLICT (instruction_id, epoch, attempt) DO NOTHING;

    RETURN QUERY
    SELECT i.item,
        CASE
            WHEN (m.epoch, m.attempt, m.purpose, m.request_sha256) IS DISTINCT FROM (i.epoch, i.attempt, 'seal', i.request)
                THEN 'PERMIT_SUPERSEDED'
            ELSE 'SEALED'
        END,
        p.posting_id, p.posted_at
    FROM unnest(p_instruction, p_epoch, p_attempt, p_request)
        WITH ORDINALITY AS i (instruction_id, epoch, attempt, request, item)
    JOIN ledger.permit_marks AS m ON m.instruction_id = i.instruction_id
    LEFT JOIN ledger.postings AS p ON p.instruction_id = i.instruction_id AND p.purpose = 'post'
    ORDER BY i.item;
END
$$;

-- Postings in the order of their ids (time): from inclusive, after exclusive, to exclusive.
CREATE FUNCTION ledger.read_postings(p_from uuid, p_after uuid, p_to uuid, p_limit integer)
RETURNS TABLE (
    posting_id uuid, instruction_id uuid, amount_minor bigint, currency text, debit_agent text, credit_agent text,
    settlement_date date, rail text, release_number bigint, sidecar text, attestation_leaf_hash bytea,
    posted_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, ledger, pg_temp AS $$
    SELECT p.posting_id, p.instruction_id, p.amount_minor, p.currency, da.agent, ca.agent,
        p.settlement_date, p.rail, p.release_number, p.sidecar, p.attestation_leaf_hash, p.posted_at
    FROM ledger.postings AS p
    JOIN ledger.lines AS dl ON dl.posting_id = p.posting_id AND dl.side = 'D'
    JOIN ledger.accounts AS da ON da.account_id = dl.account_id
    JOIN ledger.lines AS cl ON cl.posting_id = p.posting_id AND cl.side = 'C'
    JOIN ledger.accounts AS ca ON ca.account_id = cl.account_id
    WHERE p.posting_id >= p_from AND p.posting_id > p_after AND p.posting_id < p_to
    ORDER BY p.posting_id
    LIMIT least(p_limit, 1000)
$$;

-- Settlement accounts with their derived balances, in the order of their ids.
CREATE FUNCTION ledger.read_accounts(p_after bigint, p_limit integer)
RETURNS TABLE (
    account_id bigint, agent text, currency text, balance_minor numeric, debits_minor numeric, credits_minor numeric,
    lines bigint, opened_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, ledger, pg_temp AS $$
    SELECT a.account_id, a.agent, a.currency, coalesce(s.balance, 0), coalesce(s.debits, 0), coalesce(s.credits, 0),
        s.lines, a.opened_at
    FROM ledger.accounts AS a
    CROSS JOIN LATERAL (
        SELECT sum(l.amount_minor) AS balance, -sum(l.amount_minor) FILTER (WHERE l.amount_minor < 0) AS debits,
            sum(l.amount_minor) FILTER (WHERE l.amount_minor > 0) AS credits, count(*) AS lines
        FROM ledger.lines AS l WHERE l.account_id = a.account_id
    ) AS s
    WHERE a.account_id > p_after
    ORDER BY a.account_id
    LIMIT least(p_limit, 1000)
$$;

-- The highest release ever accepted; no row before the first.
CREATE FUNCTION ledger.highest_release() RETURNS TABLE (number bigint, metadata_digest text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, ledger, pg_temp AS $$
    SELECT r.number, r.metadata_digest FROM ledger.accepted_releases AS r ORDER BY r.number DESC LIMIT 1
$$;

-- ACCEPTED (also for the one already held), RELEASE_ROLLBACK for a lower number, RELEASE_FORKED for another digest.
CREATE FUNCTION ledger.accept_release(p_number bigint, p_digest text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, ledger, pg_temp AS $$
DECLARE
    held ledger.accepted_releases;
BEGIN
    LOCK TABLE ledger.accepted_releases IN SHARE ROW EXCLUSIVE MODE;
    SELECT r.* INTO held FROM ledger.accepted_releases AS r ORDER BY r.number DESC LIMIT 1;
    IF held.number > p_number THEN
        RETURN 'RELEASE_ROLLBACK';
    ELSIF held.number = p_number THEN
        RETURN CASE WHEN held.metadata_digest = p_digest THEN 'ACCEPTED' ELSE 'RELEASE_FORKED' END;
    END IF;
    INSERT INTO ledger.accepted_releases (number, metadata_digest) VALUES (p_number, p_digest);
    RETURN 'ACCEPTED';
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.post, ledger.seal, ledger.highest_release, ledger.accept_release TO symphony_ledger;
GRANT EXECUTE ON FUNCTION ledger.read_postings, ledger.read_accounts TO symphony_ledger, symphony_ledger_reader;
