-- Whom campaigns reach.

-- step: fields
INSERT INTO fields (company_id, id, owner, custom, type, name, label, validation, required, hidden, read_only,
    sort_order, choices)
SELECT :company_id, (:company_id - 1) * 30 + position, owner, custom, type, name, label, validation, required,
    hidden, read_only, position, CASE name WHEN 'country' THEN countries ELSE choices END
FROM (SELECT array_agg(name ORDER BY name) FROM demo_countries) AS all_countries (countries)
CROSS JOIN (VALUES
    (1, 'CONTACT', false, 'TEXT', 'salutation', 'Salutation', NULL, false, false, false, ARRAY[]::text[]),
    (2, 'CONTACT', false, 'TEXT', 'state_region', 'State/Region', NULL, false, false, false, '{}'),
    (3, 'CONTACT', false, 'TEXT', 'last_name', 'Last name', NULL, true, false, false, '{}'),
    (4, 'CONTACT', false, 'TEXT', 'mobile_phone_number', 'Mobile phone number', NULL, false, false, false, '{}'),
    (5, 'CONTACT', false, 'TEXT', 'landline_phone_number', 'Landline phone number', NULL, false, false, false, '{}'),
    (6, 'CONTACT', false, 'TEXT', 'address', 'Address', NULL, false, false, false, '{}'),
    (7, 'CONTACT', false, 'TEXT', 'city', 'City', NULL, false, false, false, '{}'),
    (8, 'CONTACT', false, 'TEXT', 'first_name', 'First name', NULL, true, false, false, '{}'),
    (9, 'CONTACT', false, 'SINGLE_CHOICE', 'country', 'Country', NULL, false, false, false, '{}'),
    (10, 'CONTACT', false, 'TEXT', 'email', 'Email', 'email', false, false, false, '{}'),
    (11, 'CONTACT', false, 'DATE', 'date_of_birth', 'Date of Birth', 'date_before_tomorrow', false, false, false, '{}'),
    (12, 'CONTACT', false, 'TEXT', 'title', 'Title', NULL, false, false, false, '{}'),
    (13, 'CONTACT', false, 'TEXT', 'zip_code', 'Zip code', NULL, false, false, false, '{}'),
    (14, 'CONTACT', true, 'TEXT', 'segment', 'Segment', NULL, false, false, false, '{}'),
    (15, 'CONTACT', true, 'INTEGER', 'cars', 'Number of cars', NULL, false, false, false, '{}'),
    (16, 'CONTACT', true, 'BOOLEAN', 'newsletter', 'Reads the newsletter', NULL, false, false, false, '{}'),
    (17, 'CONTACT', true, 'DATE', 'renewal', 'Renewal date', NULL, false, false, false, '{}'),
    (18, 'CONTACT', true, 'NUMBER', 'score', 'Score', NULL, false, false, true, '{}'),
    (19, 'CONTACT', true, 'SINGLE_CHOICE', 'tier', 'Tier', NULL, false, false, false, '{Bronze,Silver,Gold}'),
    (20, 'CONTACT', true, 'MULTIPLE_CHOICE', 'interests', 'Interests', NULL, false, false, false,
        '{Music,Food,Sailing,Art,Travel,Gardening}'),
    (21, 'CONTACT', true, 'TEXT', 'old_customer_number', 'Old customer number', NULL, false, true, true, '{}'),
    (22, 'ACCOUNT', false, 'TEXT', 'vat_number', 'VAT number', NULL, false, false, false, '{}'),
    (23, 'ACCOUNT', false, 'TEXT', 'website', 'Website', 'url', false, false, false, '{}'),
    (24, 'ACCOUNT', false, 'TEXT', 'phone_number', 'Phone number', NULL, false, false, false, '{}'),
    (25, 'ACCOUNT', true, 'SINGLE_CHOICE', 'industry', 'Industry', NULL, false, false, false,
        '{Hospitality,Retail,Shipping,Education,Health,Crafts}'),
    (26, 'ACCOUNT', true, 'INTEGER', 'employees', 'Employees', NULL, false, false, false, '{}')
) AS definition (position, owner, custom, type, name, label, validation, required, hidden, read_only, choices)

-- step: names by contacts
-- Two of three live in the company's own country.
INSERT INTO demo_people (n, country, die, first_name, last_name, mailbox)
SELECT n, country.position, die, split_part(first_name, '=', 1), split_part(last_name, '=', 1),
    lower(translate(coalesce(nullif(split_part(first_name, '=', 2), ''), first_name) || '.'
            || coalesce(nullif(split_part(last_name, '=', 2), ''), last_name),
        'æøåäöüéèëïíóúáñçłśżąęćźńØÅÉÍÁÓŁŻŚ''', 'aoaaoueeeiiouanclszaecznOAEIAOLZS')) || n
FROM generate_series(:first, :last) AS n
CROSS JOIN LATERAL (SELECT CASE WHEN pg_temp.roll('abroad', n, 3) > 0 THEN :home_country
    ELSE pg_temp.roll('country', n, 8) END) AS home (position)
JOIN demo_countries AS country USING (position)
CROSS JOIN LATERAL (SELECT pg_temp.roll('first name', n, cardinality(first_names)),
    pg_temp.pick('last name', n, last_names)) AS dice (die, last_name)
CROSS JOIN LATERAL (SELECT first_names[1 + die]) AS given (first_name)

-- step: accounts by accounts
-- Every third is a household, named after the contact who lives there; the others are organisations.
INSERT INTO accounts (company_id, id, name, b2c, fixed_fields, custom_fields, created_at, updated_at)
SELECT :company_id, pg_temp.id_of('account', account.n),
    coalesce(person.first_name || ' ' || person.last_name, organisation), person.n IS NOT NULL,
    CASE WHEN person.n IS NULL THEN jsonb_build_object(
        'vat_number', to_char(pg_temp.roll('vat', account.n, 1000000), '"XX00"FM000000'),
        'website', 'https://' || replace(lower(organisation), ' ', '-') || '.example',
        'phone_number', '+45 00 ' || to_char(pg_temp.roll('account phone', account.n, 1000000), 'FM00" "00" "00'))
        ELSE '{}' END,
    CASE WHEN person.n IS NULL THEN jsonb_build_object(
        'industry', pg_temp.pick('industry', account.n,
            ARRAY['Hospitality', 'Retail', 'Shipping', 'Education', 'Health', 'Crafts']),
        'employees', 1 + pg_temp.roll('employees', account.n, 250))
        ELSE '{}' END,
    made_at, least(made_at + make_interval(days => pg_temp.roll('account updated', account.n, 300)), pg_temp.now())
FROM generate_series(:first, :last) AS account (n)
LEFT JOIN demo_people AS person ON person.n = 3 * account.n AND account.n % 3 = 0
CROSS JOIN LATERAL (SELECT pg_temp.arrival('account', account.n, :accounts),
    pg_temp.pick('account first', account.n, ARRAY['Amber', 'Blue', 'Bright', 'Cedar', 'Clear', 'Copper', 'Golden',
        'Green', 'Little', 'Northern', 'Old', 'Quiet', 'Red', 'Silver', 'Stone', 'Summer', 'Sunny', 'White', 'Wild',
        'Winter']) || ' '
    || pg_temp.pick('account second', account.n, ARRAY['Anchor', 'Bay', 'Bridge', 'Field', 'Garden', 'Gate', 'Hill',
        'Island', 'Lake', 'Lantern', 'Mill', 'Oak', 'Pine', 'River', 'Sail', 'Star', 'Tower', 'Valley', 'Wharf',
        'Willow']) || ' '
    || pg_temp.pick('account third', account.n, ARRAY['Academy', 'Bakery', 'Bikes', 'Boatyard', 'Bookshop', 'Brewery',
        'Clinic', 'Coffee', 'Dairy', 'Design', 'Ferries', 'Furniture', 'Gallery', 'Hotel', 'Museum', 'Pharmacy',
        'Press', 'Studio', 'Theatre', 'Vineyard'])) AS details (made_at, organisation)

-- step: contacts by contacts
-- Numbers divisible by 3 are private people, by 9 with a household; the others belong to an organisation that was
-- there before them.
INSERT INTO contacts (company_id, id, b2c, account_id, user_id, team_id, status, salutation, first_name, last_name,
    title, email, mobile_phone_number, landline_phone_number, address, zip_code, city, state_region, country,
    date_of_birth, custom_fields, latest_activity_at, social_profile, email_consent_given, email_consent_updated_at,
    letter_consent_given, letter_consent_updated_at, call_consent_given, call_consent_updated_at, sms_consent_given,
    sms_consent_updated_at, created_at, updated_at)
SELECT :company_id, pg_temp.id_of('contact', n), n % 3 = 0,
    CASE WHEN n % 9 = 0 THEN pg_temp.id_of('account', n / 3) WHEN n % 3 <> 0
        THEN pg_temp.id_of('account', 3 * pg_temp.roll('employer', n, greatest(1, n / 9)) + n % 3) END,
    CASE WHEN n % 8 <> 0 THEN :user_base + 1 + pg_temp.roll('responsible', n, :users - 1) END,
    CASE WHEN n % 5 < 3 THEN :team_base + 1 + pg_temp.roll('contact team', n, :teams) END,
    pg_temp.pick('contact status', n, ARRAY['LEAD', 'LEAD', 'OPPORTUNITY', 'CUSTOMER', 'CUSTOMER', NULL]),
    CASE WHEN n % 2 = 0 THEN CASE die % 2 WHEN 0 THEN 'Ms' ELSE 'Mr' END END, first_name, last_name,
    CASE WHEN n % 3 <> 0 THEN pg_temp.pick('title', n, ARRAY['Head of marketing', 'Office manager', 'Owner', 'Chef',
        'Purchaser', 'Teacher', 'Captain', 'Curator', 'Architect', 'Head of communications']) END,
    CASE WHEN pg_temp.roll('email', n, 12) > 0
        THEN mailbox || pg_temp.pick('provider', n, ARRAY['@example.com', '@example.org', '@example.net']) END,
    CASE WHEN pg_temp.roll('mobile', n, 5) > 0
        THEN to_char(pg_temp.roll('mobile number', n, phone_numbers), phone_format) END,
    CASE WHEN pg_temp.roll('landline', n, 5) > 2
        THEN to_char(pg_temp.roll('landline number', n, phone_numbers), phone_format) END,
    CASE WHEN housed THEN format(address_format, pg_temp.pick('street', n, streets),
        1 + pg_temp.roll('house', n, 120)) END,
    CASE WHEN housed THEN split_part(place, '|', 1) END, CASE WHEN housed THEN split_part(place, '|', 2) END,
    CASE WHEN housed THEN split_part(place, '|', 3) END, CASE WHEN housed THEN country.name END,
    CASE WHEN pg_temp.roll('birthday known', n, 5) > 1 THEN date '1945-01-01' + pg_temp.roll('birthday', n, 22000) END,
    CASE WHEN n % 10 = 0 THEN '{}' ELSE jsonb_strip_nulls(jsonb_build_object(
        'segment', pg_temp.pick('segment', n, ARRAY['North', 'South', 'Coast', 'City', 'Abroad', NULL]),
        'cars', nullif(pg_temp.roll('cars', n, 5), 4), 'newsletter', pg_temp.roll('newsletter', n, 3) > 0,
        'renewal', CASE WHEN pg_temp.roll('renews', n, 2) = 0
            THEN pg_temp.now()::date + pg_temp.roll('renewal', n, 700) - 300 END,
        'score', CASE WHEN pg_temp.roll('scored', n, 4) > 0
            THEN CAST(pg_temp.roll('score', n, 1000) / 10.0 AS numeric(4, 1)) END,
        'tier', pg_temp.pick('tier', n, ARRAY['Bronze', 'Bronze', 'Silver', 'Gold', NULL]),
        'interests', CASE WHEN pg_temp.roll('interested', n, 3) > 0 THEN jsonb_build_array(
            pg_temp.pick('interest', n, ARRAY['Music', 'Food', 'Sailing']),
            pg_temp.pick('other interest', n, ARRAY['Art', 'Travel', 'Gardening'])) END,
        'old_customer_number', CASE WHEN n <= :contacts / 4 THEN to_char(n, '"K-"FM000000') END)) END,
    CASE WHEN pg_temp.roll('active', n, 5) > 0 THEN made_at + age * pg_temp.roll('activity', n, 1000) END,
    CASE WHEN pg_temp.roll('social', n, 5) > 2 THEN jsonb_build_object(
        'linkedin', 'https://social.example/in/' || mailbox) ELSE '{}' END,
    by_email, CASE WHEN by_email IS NOT NULL THEN made_at END,
    by_letter, CASE WHEN by_letter IS NOT NULL THEN made_at END,
    by_call, CASE WHEN by_call IS NOT NULL THEN made_at + age * 100 END,
    by_sms, CASE WHEN by_sms IS NOT NULL THEN made_at + age * 100 END,
    made_at, made_at + age * (n % 4 * 250)
FROM demo_people
JOIN demo_countries AS country ON country.position = demo_people.country
CROSS JOIN LATERAL (SELECT pg_temp.arrival('contact', n, :contacts)) AS arrival (made_at)
CROSS JOIN LATERAL (SELECT (pg_temp.now() - made_at) / 1000, pg_temp.roll('housed', n, 8) > 0,
    pg_temp.pick('place', n, places), pg_temp.consent('email', n, 1), pg_temp.consent('letter', n, 3),
    pg_temp.consent('call', n, 9), pg_temp.consent('sms', n, 27)
) AS details (age, housed, place, by_email, by_letter, by_call, by_sms)
WHERE n BETWEEN :first AND :last

-- step: lists
INSERT INTO contact_lists (company_id, id, name, created_at, updated_at)
SELECT :company_id, :list_base + n, (ARRAY['Newsletter readers', 'VIP guests', 'Spring fair visitors',
    'Webinar participants', 'Press', 'Partners', 'Harbour walk', 'Golf day', 'Neighbours', 'Suppliers',
    'Museum night', 'Founding members'])[n], made_at, made_at
FROM generate_series(1, :lists) AS n
CROSS JOIN LATERAL (SELECT pg_temp.moment('list', n, :lists, 715, 10)) AS made (made_at)

-- step: list members by lists
-- The first list holds one contact of four, the others one of 40 on average.
INSERT INTO contact_list_members (company_id, list_id, contact_id)
SELECT :company_id, :list_base + list, pg_temp.id_of('contact', n)
FROM generate_series(:first, :last) AS list CROSS JOIN generate_series(1, :contacts) AS n
WHERE pg_temp.roll('member', list * 10000000 + n, 1000) < CASE WHEN list = 1 THEN 250
    ELSE 10 + pg_temp.roll('list size', list, 30) END
