-- What the other files build on. __salt__ and __now__ are filled in for each company: as constants they are
-- folded into the plans, which makes a die roll over ten million rows cheap.

-- step: die
CREATE OR REPLACE FUNCTION pg_temp.roll(kind text, n bigint, sides bigint) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ((hashint8extended(n, hashtextextended(kind, __salt__)) & 9223372036854775807) % sides)::integer

-- step: choice
CREATE OR REPLACE FUNCTION pg_temp.pick(kind text, n bigint, choices text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN choices[1 + pg_temp.roll(kind, n, cardinality(choices))]

-- step: present
CREATE OR REPLACE FUNCTION pg_temp.now() RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN timestamptz '__now__'

-- step: ids
-- The digits 4 and 8 make it a well-formed version 4 UUID, which some clients insist on.
CREATE OR REPLACE FUNCTION pg_temp.id_of(kind text, n bigint) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN overlay(overlay(md5(__salt__ || kind || n) PLACING '4' FROM 13) PLACING '8' FROM 17)::uuid

-- step: moments
-- The n-th of `total` moments, in order, between `oldest` and `newest` days ago.
CREATE OR REPLACE FUNCTION pg_temp.moment(kind text, n bigint, total bigint, oldest bigint, newest bigint)
RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
RETURN pg_temp.now() - make_interval(secs =>
    oldest * 86400 - (oldest - newest) * 86400 * (n - 1) / total
    - pg_temp.roll(kind, n, greatest(1, (oldest - newest) * 86400 / total)))

-- step: working hours
-- A minute of that day's work.
CREATE OR REPLACE FUNCTION pg_temp.at_work(kind text, n bigint, day timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN date_trunc('day', day) + make_interval(mins => 360 + pg_temp.roll(kind, n, 600))

-- step: arrivals
-- Half of the customers were there when the company began, the others came one by one.
CREATE OR REPLACE FUNCTION pg_temp.arrival(kind text, n bigint, total bigint) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
    WHEN n <= total / 2 THEN pg_temp.moment(kind, n, total / 2, 726, 716)
    ELSE pg_temp.moment(kind, n - total / 2, total - total / 2, 716, 0)
END

-- step: consents
-- Given, refused or never asked. With the divisors 1, 3, 9, 27 the first 81 contacts have every combination.
CREATE OR REPLACE FUNCTION pg_temp.consent(channel text, n bigint, divisor integer) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN n <= 81 THEN (ARRAY[NULL, true, false])[1 + n / divisor % 3]
    ELSE (ARRAY[NULL, true, true, true, true, false])[1 + pg_temp.roll(channel, n, 6)]
END

-- step: timestamps
CREATE OR REPLACE FUNCTION pg_temp.timestamp_text(moment timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')

-- step: conditions
CREATE OR REPLACE FUNCTION pg_temp.condition(field text, operator text, value jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN jsonb_build_object('field', 'contact.' || field, 'operator', operator, 'value', value)

-- step: delivery
-- What became of a recipient, by a die of 1000. The pairs of a campaign's status and type have their own odds.
CREATE OR REPLACE FUNCTION pg_temp.delivery(status text, type text, die integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN status = 'COMPLETED' AND type = 'EMAIL' THEN CASE
        WHEN die < 900 THEN 'DELIVERED' WHEN die < 940 THEN 'SENT' WHEN die < 965 THEN 'BOUNCED'
        WHEN die < 980 THEN 'UNSUBSCRIBED' WHEN die < 998 THEN 'FAILED' ELSE 'UNKNOWN' END
    WHEN status = 'COMPLETED' THEN CASE WHEN die < 985 THEN 'SENT' ELSE 'FAILED' END
    WHEN status = 'SENDING' AND type = 'EMAIL' THEN CASE
        WHEN die < 350 THEN 'DELIVERED' WHEN die < 450 THEN 'SENT' WHEN die < 480 THEN 'BOUNCED'
        WHEN die < 520 THEN 'DEFERRED' WHEN die < 560 THEN 'SENDING' ELSE 'QUEUED' END
    WHEN status = 'SENDING' THEN CASE WHEN die < 520 THEN 'SENT' WHEN die < 560 THEN 'SENDING' ELSE 'QUEUED' END
    ELSE 'FAILED'
END

-- step: delivery die
-- The first ten recipients of the newest campaigns show every outcome, whatever the seed.
CREATE OR REPLACE FUNCTION pg_temp.delivery_die(turn integer, ordinal integer, recipient bigint) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN turn < 18 AND ordinal < 10
    THEN (ARRAY[100, 920, 950, 970, 990, 999, 400, 460, 500, 540])[ordinal + 1]
    ELSE pg_temp.roll('delivery', recipient, 1000)
END

-- step: countries
CREATE TEMPORARY TABLE IF NOT EXISTS demo_countries (
    position integer, name text, phone_format text, phone_numbers integer, address_format text,
    first_names text[], last_names text[], streets text[], places text[]
) ON COMMIT DROP

-- step: topics
CREATE TEMPORARY TABLE IF NOT EXISTS demo_topics (
    position integer, name text, subject text, content text
) ON COMMIT DROP

-- step: people
CREATE TEMPORARY TABLE IF NOT EXISTS demo_people (
    n integer, country integer, die integer, first_name text, last_name text, mailbox text
) ON COMMIT DROP

-- step: reachable
-- Whom an audience (a campaign type and a filter) reaches, each audience in one run of places.
CREATE TEMPORARY TABLE IF NOT EXISTS demo_reachable (
    place integer, audience integer, created_at timestamptz, contact_id uuid, address text
) ON COMMIT DROP

-- step: reachable by place
CREATE INDEX IF NOT EXISTS demo_reachable_place ON demo_reachable (place)

-- step: reachable by time
CREATE INDEX IF NOT EXISTS demo_reachable_time ON demo_reachable (audience, created_at, place)

-- step: campaign plans
CREATE TEMPORARY TABLE IF NOT EXISTS demo_campaigns (
    n integer, turn integer, id uuid, type text, status text, scope text, audience integer, filter integer,
    author integer, approved boolean, created_at timestamptz, send_at timestamptz,
    place integer, pool integer, start integer, recipients integer, first_recipient bigint, total_sent integer
) ON COMMIT DROP

-- step: export plans
CREATE TEMPORARY TABLE IF NOT EXISTS demo_exports (
    n integer, id uuid, kind text, format text, status text, parameters jsonb, campaign_id uuid, author integer,
    created_at timestamptz, finished_at timestamptz, rows_total integer, rows_processed integer,
    file_id uuid, file_key text, bytes bigint, sha256 text, regenerated_from_id uuid
) ON COMMIT DROP

-- step: forgetting the company before
TRUNCATE demo_countries, demo_topics, demo_people, demo_reachable, demo_campaigns, demo_exports
