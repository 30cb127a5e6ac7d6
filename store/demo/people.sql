-- Companies and who works in them.

-- step: companies
INSERT INTO companies (id, name, time_zone, created_at, updated_at)
VALUES (:company_id, :company_name, :time_zone, pg_temp.now() - interval '730 days', pg_temp.now() - interval '30 days')

-- step: groups
INSERT INTO groups (company_id, id, name, created_at, updated_at)
SELECT :company_id, :group_base + n,
    (ARRAY['Sales', 'Marketing', 'Customer care', 'Partnerships'])[n], made_at, made_at
FROM generate_series(1, :groups) AS n
CROSS JOIN LATERAL (SELECT pg_temp.moment('group', n, :groups, 730, 729)) AS made (made_at)

-- step: teams
-- The last team stands alone, in no group.
INSERT INTO teams (company_id, id, group_id, name, created_at, updated_at)
SELECT :company_id, :team_base + n, CASE WHEN n < :teams THEN :group_base + 1 + (n - 1) % :groups END,
    (ARRAY['Key accounts', 'Newsletter', 'Support', 'Resellers', 'New business', 'Brand and print', 'Onboarding',
        'Sponsorships', 'Telemarketing', 'Events desk', 'Renewals', 'Field sales'])[n], made_at, made_at
FROM generate_series(1, :teams) AS n
CROSS JOIN LATERAL (SELECT pg_temp.moment('team', n, :teams, 730, 729)) AS made (made_at)

-- step: users
-- The first is the administrator, the last the system's own. Walking the names this way gives no pair twice
-- among the first 576.
INSERT INTO users (company_id, id, first_name, last_name, phone_number, job_title, email, email_notifications,
    profile_picture, is_system_user, role, created_at, updated_at)
SELECT :company_id, :user_base + n, first_name, last_name,
    '+45 00 ' || to_char(pg_temp.roll('user phone', n, 1000000), 'FM00" "00" "00'),
    CASE WHEN n = 1 THEN 'Managing director' ELSE pg_temp.pick('job', n, ARRAY['Account manager',
        'Campaign manager', 'Copywriter', 'Customer adviser', 'Event planner', 'Graphic designer',
        'Sales executive', 'Team lead']) END,
    lower(first_name || '.' || last_name) || '@' || :email_domain, n % 4 <> 0,
    CASE WHEN n % 5 = 2 THEN 'https://pictures.example/people/' || :user_base + n || '.jpg' END, false,
    CASE WHEN n = 1 THEN 'ADMIN' WHEN n % 3 = 2 THEN 'MANAGER' ELSE 'MEMBER' END,
    made_at, made_at + make_interval(days => pg_temp.roll('user updated', n, 700))
FROM generate_series(1, :users - 1) AS n
CROSS JOIN LATERAL (SELECT pg_temp.roll('names', 0, 24) + n) AS shifted (i)
CROSS JOIN LATERAL (SELECT
    (ARRAY['Anna', 'Oliver', 'Clara', 'Victor', 'Ella', 'Theo', 'Marie', 'Hugo', 'Nina', 'Felix', 'Julie', 'Emil',
        'Sara', 'Oscar', 'Helena', 'Max', 'Cecilia', 'Simon', 'Vera', 'Anton', 'Rosa', 'Samuel', 'Iris', 'David']
    )[1 + i % 24],
    (ARRAY['Bergman', 'Castle', 'Dalgaard', 'Ekman', 'Fischer', 'Grant', 'Hansen', 'Iversen', 'Jensen', 'Klein',
        'Larsen', 'Moreau', 'Nielsen', 'Olsen', 'Palmer', 'Quist', 'Ravn', 'Stone', 'Thomsen', 'Ulrich', 'Vance',
        'Weber', 'York', 'Zimmer'])[1 + (i + i / 24) % 24]
) AS name (first_name, last_name)
CROSS JOIN LATERAL (SELECT pg_temp.moment('user', n, :users, 729, 728)) AS made (made_at)
UNION ALL
SELECT :company_id, :user_base + :users, 'Campaign', 'Gateway', NULL, NULL, 'system@' || :email_domain, false, NULL,
    true, 'MEMBER', pg_temp.now() - interval '730 days', pg_temp.now() - interval '730 days'

-- step: team members
-- Managers look after the next team as well.
INSERT INTO team_members (company_id, team_id, user_id)
SELECT :company_id, :team_base + 1 + (n - 1 + further) % :teams, :user_base + n
FROM generate_series(1, :users - 1) AS n CROSS JOIN generate_series(0, 1) AS further
WHERE further = 0 OR n % 3 = 2

-- step: templates
-- Odd ones are for e-mail, even ones for letters; of three, one is everyone's, one a team's, one a group's.
INSERT INTO templates (company_id, id, user_id, team_id, group_id, type, title, campaign, content, margin_top,
    margin_right, margin_bottom, margin_left, created_at, updated_at)
SELECT :company_id, :template_base + n, :user_base + 1 + pg_temp.roll('template author', n, :users - 1),
    CASE WHEN n / 2 % 3 = 1 THEN :team_base + 1 + pg_temp.roll('template team', n, :teams) END,
    CASE WHEN n / 2 % 3 = 2 THEN :group_base + 1 + pg_temp.roll('template group', n, :groups) END,
    CASE WHEN letter THEN 'LETTER' ELSE 'EMAIL' END,
    (ARRAY['Harbour', 'Meadow', 'Lantern', 'Orchard', 'Terrace', 'Compass', 'Linen', 'Granite'])[1 + (n - 1) / 2 % 8]
        || CASE WHEN letter THEN ' letter' ELSE ' e-mail' END || coalesce(' ' || nullif((n - 1) / 16 + 1, 1), ''),
    n % 5 <> 0,
    CASE WHEN letter
        THEN '<p>' || :company_name || '</p>' || chr(10) || '{{content}}' || chr(10) || '<p>With kind regards,<br>'
            || :company_name || '</p>'
        ELSE '<!doctype html>' || chr(10) || '<html lang="en"><head><title>{{subject}}</title></head>' || chr(10)
            || '<body style="font-family: sans-serif; color: ' || colour || '"><h1>{{subject}}</h1>' || chr(10)
            || '{{content}}' || chr(10) || '<p>' || :company_name || '</p></body></html>'
    END,
    CASE WHEN letter THEN 25 END, CASE WHEN letter THEN 20 END, CASE WHEN letter THEN 25 END,
    CASE WHEN letter THEN 22.5 END, made_at,
    made_at + make_interval(days => pg_temp.roll('template updated', n, 700))
FROM generate_series(1, :templates) AS n
CROSS JOIN LATERAL (SELECT n % 2 = 0, pg_temp.pick('colour', n, ARRAY['#16324f', '#2f4f3a', '#3d2b56', '#222222']),
    pg_temp.moment('template', n, :templates, 728, 727)) AS details (letter, colour, made_at)

-- step: settings
INSERT INTO campaign_settings (company_id, domain, domain_slug, domain_slug_suffix, consent_enabled,
    consent_unsubscribe_url, consent_template_id, consent_subscribe_url, consent_subject, consent_content,
    consent_help_text, updated_at)
SELECT :company_id, host, :domain_slug, 'campaigns.example', custom,
    CASE WHEN custom THEN 'https://' || host || '/unsubscribe' END, CASE WHEN custom THEN :template_base + 1 END,
    CASE WHEN custom THEN 'https://' || host || '/subscribe' END, CASE WHEN custom THEN 'May we write to you?' END,
    CASE WHEN custom THEN '<p>Tell us whether you want to hear from us, and how.</p>' END,
    CASE WHEN custom THEN 'You can change your mind at any time.' END, pg_temp.now() - interval '300 days'
FROM (SELECT :domain) AS custom_domain (host)
CROSS JOIN LATERAL (SELECT host IS NOT NULL) AS wish (custom)

-- step: relations paths
INSERT INTO relations_paths (company_id, id, name)
SELECT :company_id, pg_temp.id_of('relations path', n), (ARRAY['Sales / New customer / First call',
    'Service / Follow-up', 'Renewal / Before the agreement ends', 'Events / Invitation follow-up',
    'Complaints / Call back'])[n]
FROM generate_series(1, :relations_paths) AS n
