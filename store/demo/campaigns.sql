-- Campaigns, their audiences and their tasks.

-- step: audiences
-- An audience is numbered 6 * (0 e-mail, 1 letter, 2 telephone) + filter. Where contacts are many, the filters but
-- the first look at one of :filter_share contacts only, as a million places are plenty.
INSERT INTO demo_reachable (place, audience, created_at, contact_id, address)
SELECT row_number() OVER (ORDER BY audience, created_at, id), audience, created_at, id, channel.address
FROM contacts
CROSS JOIN LATERAL (VALUES
    (0, email, email_consent_given),
    (6, address || ', ' || zip_code || ' ' || city, letter_consent_given),
    (12, mobile_phone_number, call_consent_given)
) AS channel (channel, address, consent)
CROSS JOIN generate_series(0, 5) AS filter
CROSS JOIN LATERAL (SELECT channel + filter) AS numbered (audience)
WHERE company_id = :company_id AND channel.address IS NOT NULL AND consent IS NOT false
    AND (filter = 0 OR (uuid_hash(id) & 1023) % :filter_share = filter % :filter_share)
    AND CASE filter
        WHEN 0 THEN true
        WHEN 1 THEN last_name ILIKE '%e%'
        WHEN 2 THEN status = 'CUSTOMER'
        WHEN 3 THEN custom_fields ->> 'tier' IN ('Silver', 'Gold')
        WHEN 4 THEN country = 'Denmark' OR custom_fields ->> 'newsletter' = 'true'
        ELSE NOT b2c AND latest_activity_at >= pg_temp.now() - interval '365 days'
    END

-- step: audiences counted
ANALYZE demo_reachable

-- step: campaign plans
-- The newest campaign has turn 0. The first turns go through every type, status and scope (72 combinations, in four
-- rounds of 18); the later ones are as in a company that has been at it for two years.
INSERT INTO demo_campaigns (n, turn, id, type, status, scope, audience, filter, author, approved, created_at)
WITH kinds AS (
    SELECT n, turn, CASE WHEN turn < 18 * :rounds THEN turn % 3 ELSE (ARRAY[0, 0, 0, 1, 2])[1 + dice % 5] END AS type,
        CASE WHEN turn < 18 * :rounds
            THEN (ARRAY['COMPLETED', 'PENDING', 'DRAFT', 'SENDING', 'FAILED', 'CANCELED'])[1 + turn / 3 % 6]
            ELSE (ARRAY['DRAFT', 'DRAFT', 'PENDING', 'CANCELED', 'FAILED', 'COMPLETED'])[1 + least(dice / 5, 5)]
        END AS status,
        CASE WHEN turn < 18 * :rounds THEN (ARRAY['GLOBAL', 'TEAM', 'GROUP', 'PERSONAL'])[1 + (turn + turn / 18) % 4]
            ELSE pg_temp.pick('scope', n, ARRAY['GLOBAL', 'GLOBAL', 'GLOBAL', 'TEAM', 'TEAM', 'GROUP', 'PERSONAL'])
        END AS scope,
        CASE WHEN turn = 0 THEN 0 ELSE pg_temp.roll('filter', n, 6) END AS filter
    FROM generate_series(1, :campaigns) AS n
    CROSS JOIN LATERAL (SELECT :campaigns - n, pg_temp.roll('kind', n, 125)) AS details (turn, dice)
)
SELECT n, turn, pg_temp.id_of('campaign', n), (ARRAY['EMAIL', 'LETTER', 'TELEPHONE'])[1 + type], status, scope,
    6 * type + filter, filter, 1 + pg_temp.roll('author', n, :users - 1), status <> 'DRAFT' OR n % 3 = 0,
    pg_temp.at_work('made', n, CASE status
        WHEN 'DRAFT' THEN pg_temp.now() - make_interval(days => 1 + pg_temp.roll('age', n, 120))
        WHEN 'PENDING' THEN pg_temp.now() - make_interval(days => 1 + pg_temp.roll('age', n, 40))
        WHEN 'SENDING' THEN pg_temp.now() - make_interval(days => 1 + pg_temp.roll('age', n, 4))
        ELSE pg_temp.moment('campaign', n, :campaigns, 714, 15)
    END)
FROM kinds

-- step: campaign times
UPDATE demo_campaigns SET send_at = CASE status
    WHEN 'SENDING' THEN pg_temp.now() - make_interval(mins => 5 + pg_temp.roll('due', n, 40))
    WHEN 'PENDING'
        THEN pg_temp.at_work('send', n, pg_temp.now() + make_interval(days => 2 + pg_temp.roll('due', n, 60)))
    WHEN 'DRAFT' THEN CASE WHEN n % 3 = 1
        THEN pg_temp.at_work('send', n, pg_temp.now() + make_interval(days => 3 + pg_temp.roll('due', n, 90))) END
    ELSE pg_temp.at_work('send', n, created_at + interval '1 day')
END

-- step: campaign pools
-- A campaign reaches contacts that were there when it was made: a run of places from the audience's first on.
UPDATE demo_campaigns SET place = first_place, pool = coalesce((
    SELECT demo_reachable.place - first_place + 1 FROM demo_reachable
    WHERE demo_reachable.audience = demo_campaigns.audience
        AND demo_reachable.created_at < demo_campaigns.created_at
    ORDER BY demo_reachable.created_at DESC, demo_reachable.place DESC LIMIT 1
), 0)
FROM (SELECT audience, min(place) FROM demo_reachable GROUP BY audience) AS audiences (audience, first_place)
WHERE audiences.audience = demo_campaigns.audience AND status IN ('COMPLETED', 'SENDING', 'FAILED')

-- step: campaign sizes
-- The newest campaign reaches :largest contacts. The others share the rest in pairs, one reaching as many more
-- than the average as the other reaches less.
WITH ranks AS (
    SELECT n, turn, row_number() OVER (ORDER BY turn) - 1 AS rank, count(*) OVER () - 1 AS others, pool
    FROM demo_campaigns WHERE pool IS NOT NULL
), sizes AS (
    SELECT n, pool, least(pool, CASE WHEN turn = 0 THEN :largest
        ELSE rank * rest / others - (rank - 1) * rest / others + CASE WHEN rank = others AND others % 2 = 1 THEN 0
            ELSE (rank % 2 * 2 - 1) * pg_temp.roll('swing', (rank - 1) / 2, 1 + rest / others * 2 / 3) END
        END) AS size
    FROM ranks CROSS JOIN (SELECT :recipients - :largest) AS remaining (rest)
)
UPDATE demo_campaigns SET recipients = size, start = pg_temp.roll('start', n, greatest(sizes.pool, 1)),
    first_recipient = before
FROM (SELECT n AS sized, pool, size, :recipient_base + 1 + sum(size) OVER (ORDER BY n) - size FROM sizes)
    AS sizes (sized, pool, size, before)
WHERE sized = n

-- step: campaign totals
-- Sent is what left the house, even when it came back.
UPDATE demo_campaigns SET total_sent = (
    SELECT count(*) FROM generate_series(0, recipients - 1) AS position
    WHERE pg_temp.delivery(status, type,
            pg_temp.delivery_die(turn, position, first_recipient + position))
        IN ('SENT', 'DELIVERED', 'BOUNCED', 'UNSUBSCRIBED'))
WHERE recipients IS NOT NULL

-- step: campaign plans counted
ANALYZE demo_campaigns

-- step: campaigns
INSERT INTO campaigns (company_id, id, user_id, team_id, group_id, scope, name, description, approved, type, status,
    message_subject, message_content, message_sender, template_id, filter, send_at, sent_at, total_sent,
    task_distribution_strategy, task_relations_path_id, task_start_at, task_end_at, version, created_at, updated_at)
SELECT :company_id, campaign.id, :user_base + author,
    CASE WHEN scope = 'TEAM' OR scope = 'GLOBAL' AND n % 4 = 0 THEN team.id END,
    CASE WHEN scope = 'GROUP' THEN coalesce(team.group_id, :group_base + 1) END,
    scope, topic.name || to_char(coalesce(send_at, created_at), ', FMMonth YYYY'),
    CASE WHEN NOT approved AND n % 3 = 2 THEN '' ELSE (ARRAY['Everyone we can reach this way.',
        'A first try with the names that hold an e.', 'Customers only.', 'For our silver and gold members.',
        'Denmark, and everyone who reads the newsletter.', 'Organisations that were active in the past year.'
    ])[1 + filter] END,
    approved, type, status,
    CASE WHEN type = 'EMAIL' OR NOT approved OR type = 'LETTER' AND n % 2 = 0 THEN subject END,
    CASE WHEN type <> 'TELEPHONE' OR NOT approved OR n % 3 > 0 THEN topic.content END,
    CASE WHEN type = 'EMAIL' OR NOT approved THEN :sender END,
    CASE WHEN n % 6 > 0 THEN templates.ids[1 + pg_temp.roll('template', n, cardinality(templates.ids))] END,
    CASE WHEN approved OR n % 3 = 1 THEN condition END,
    send_at, CASE WHEN status IN ('COMPLETED', 'SENDING') THEN send_at + interval '2 minutes' END, total_sent,
    CASE WHEN tasked THEN (ARRAY['DISTRIBUTE', 'RESPONSIBLE_USER'])[1 + n % 2] END,
    CASE WHEN tasked THEN pg_temp.id_of('relations path', 1 + pg_temp.roll('path', n, :relations_paths)) END,
    CASE WHEN tasked THEN send_at + interval '1 day' END, CASE WHEN tasked THEN send_at + interval '8 days' END,
    1 + pg_temp.roll('version', n, 4), created_at,
    CASE WHEN status IN ('COMPLETED', 'FAILED', 'SENDING') THEN send_at + interval '2 minutes'
        ELSE created_at + make_interval(mins => pg_temp.roll('campaign updated', n, 60)) END
FROM demo_campaigns AS campaign
JOIN demo_topics AS topic ON topic.position = pg_temp.roll('topic', n, 16)
JOIN (SELECT id, group_id FROM teams WHERE company_id = :company_id) AS team
    ON team.id = :team_base + 1 + (author - 1) % :teams
LEFT JOIN (
    SELECT type, array_agg(id ORDER BY id) AS ids FROM templates
    WHERE company_id = :company_id AND campaign AND team_id IS NULL AND group_id IS NULL GROUP BY type
) AS templates USING (type)
CROSS JOIN LATERAL (SELECT send_at IS NOT NULL AND (type = 'TELEPHONE' OR n % 5 = 0)) AS task (tasked)
CROSS JOIN LATERAL (SELECT CASE filter
    WHEN 0 THEN jsonb_build_array(pg_temp.condition('fixed_fields.' || CASE type WHEN 'EMAIL' THEN 'email'
        WHEN 'LETTER' THEN 'address' ELSE 'mobile_phone_number' END, 'exists', 'true'))
    WHEN 1 THEN jsonb_build_array(pg_temp.condition('fixed_fields.last_name', 'ct', '"e"'))
    WHEN 2 THEN jsonb_build_array(pg_temp.condition('status', 'eq', '"CUSTOMER"'))
    WHEN 3 THEN jsonb_build_array(pg_temp.condition('custom_fields.tier', 'in', '["Silver", "Gold"]'))
    WHEN 4 THEN jsonb_build_array(jsonb_build_object('or', jsonb_build_array(
        pg_temp.condition('fixed_fields.country', 'eq', '"Denmark"'),
        pg_temp.condition('custom_fields.newsletter', 'eq', 'true'))))
    ELSE jsonb_build_array(pg_temp.condition('b2c', 'eq', 'false'), pg_temp.condition('latest_activity_at', 'gte',
        to_jsonb(pg_temp.timestamp_text(pg_temp.now() - interval '365 days'))))
END) AS filtering (condition)

-- step: task users
-- Up to four neighbours, the author first.
INSERT INTO campaign_task_users (company_id, campaign_id, user_id, position)
SELECT :company_id, demo_campaigns.id, :user_base + 1 + (author - 1 + position) % (:users - 1), position
FROM demo_campaigns
JOIN campaigns ON campaigns.company_id = :company_id AND campaigns.id = demo_campaigns.id
CROSS JOIN LATERAL generate_series(0, least(pg_temp.roll('task users', n, 4), :users - 2)) AS position
WHERE task_start_at IS NOT NULL
