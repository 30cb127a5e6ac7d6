-- The rows of the exports whose files are written, one statement for each kind.

-- step: CONTACTS
SELECT contacts.id, b2c, contacts.status, salutation, first_name, last_name, title, email, mobile_phone_number,
    landline_phone_number, address, zip_code, city, state_region, country, date_of_birth
FROM contacts
JOIN demo_exports AS export ON export.parameters -> 'contactIds' ? contacts.id::text
WHERE company_id = :company_id AND export.id = CAST(:export_id AS uuid)
ORDER BY contacts.created_at, contacts.id

-- step: MAILING
SELECT salutation, first_name, last_name, address, zip_code, city, state_region, country
FROM contacts
JOIN demo_exports AS export
    ON contacts.created_at <= (export.parameters -> 'filter' -> 0 ->> 'value')::timestamptz
WHERE company_id = :company_id AND export.id = CAST(:export_id AS uuid)
ORDER BY contacts.created_at, contacts.id

-- step: CAMPAIGN_RECIPIENTS
SELECT recipients.id, contact_id, recipients.address, recipients.status, sent_at
FROM recipients
JOIN demo_exports AS export USING (campaign_id)
WHERE company_id = :company_id AND export.id = CAST(:export_id AS uuid)
ORDER BY recipients.id

-- step: DELIVERY_REPORTS
SELECT delivery_reports.id, recipient_id, delivery_reports.status, occurred_at, reply
FROM delivery_reports
JOIN demo_exports AS export USING (campaign_id)
WHERE company_id = :company_id AND export.id = CAST(:export_id AS uuid)
ORDER BY delivery_reports.occurred_at, delivery_reports.id
