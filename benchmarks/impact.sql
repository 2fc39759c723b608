-- Made-up recorded decisions for benchmarks/impact.py.

-- name: fill
-- Decisions of %(count)s payments, evenly over the last six days, so that none leaves the window meanwhile: 4 participants in turn, amounts all over the range, those above
-- the cap refused. The input is a template in which amount and references are replaced.
WITH made AS MATERIALIZED (
    SELECT uuidv7(at - clock_timestamp()) AS id, at, n, 1 + (n::bigint * 7919 * 104729) %% 2000000 AS amount,
        (ARRAY['kafue-bank', 'luangwa-bank', 'mosi-money', 'rheinufer-bank'])[1 + n %% 4] AS participant,
        (ARRAY['KFUBZMLUXXX', 'LWGBZMLUXXX', 'MSIMZMLUXXX', 'RHUBDEFFXXX'])[1 + n %% 4] AS agent
    FROM generate_series(%(first)s::int, %(first)s::int + %(count)s::int - 1) AS n
    CROSS JOIN LATERAL (SELECT clock_timestamp() - interval '6 days'
        + (interval '6 days' - interval '1 minute') * (n::float8 / %(all)s::float8) AS at) AS moment
), instructions AS (
    INSERT INTO symphony.payment_instructions (instruction_id, attestation_id, attestation_leaf_hash, participant_id, client_id,
        idempotency_key, tx_index, decision, reason_code, detail, request_body_sha256, business_key, sequence_id, kind, rail, refs,
        amount_minor, currency, instructing_agent, instructed_agent, usage_day, policy_version, policy_checksum, created_at)
    SELECT id, id, '\x00', participant, 'bench', id::text, 0, CASE WHEN amount > %(cap)s THEN 'REFUSED' ELSE 'ALLOW' END,
        CASE WHEN amount > %(cap)s THEN 'CAP_PAYMENT_VALUE' END, CASE WHEN amount > %(cap)s THEN 'CAP_PAYMENT_VALUE' ELSE '' END,
        'x', id::text, n, 'transfer', 'iso20022', '{}', amount, 'ZMW', agent, 'KFUBZMLUXXX', at::date, 1, 'x', at
    FROM made
)
INSERT INTO symphony.payloads (instruction_id, created_at, decision_input, salt)
SELECT id, at, convert_to(replace(replace(replace(replace(%(template)s, '"AMOUNT"', amount::text), 'PARTICIPANT', participant),
    'AGENT', agent), 'REFERENCE', n::text), 'UTF8'), '\x00'
FROM made

-- name: flips
-- What the report must say, by SQL.
SELECT count(*), coalesce(sum(amount_minor), 0) FROM symphony.payment_instructions
WHERE decision = 'ALLOW' AND amount_minor > %(cap)s
