-- What was exported.

-- step: export plans
-- The first 84 have every status of each of the twelve kinds and formats, the later ones are past. The files of the
-- completed ones are really written, so those are small and in a format that needs no library.
INSERT INTO demo_exports (n, id, kind, format, status, author, created_at, campaign_id, parameters)
WITH sent AS (
    SELECT array_agg(id ORDER BY turn) FILTER (WHERE type = 'EMAIL') AS emails,
        array_agg(id ORDER BY turn) FILTER (WHERE type = 'LETTER') AS letters
    FROM demo_campaigns WHERE status = 'COMPLETED' AND recipients BETWEEN 1 AND 500 AND turn < 72
), kinds AS (
    SELECT n, split_part(pair, ' ', 1) AS kind, split_part(pair, ' ', 2) AS format,
        CASE WHEN n > 84 THEN pg_temp.pick('past', n, ARRAY['EXPIRED', 'EXPIRED', 'EXPIRED', 'FAILED', 'CANCELED'])
            WHEN n % 7 = 1 AND pair NOT LIKE '%CSV' AND pair NOT LIKE '%JSONL' THEN 'EXPIRED'
            ELSE (ARRAY['CANCELING', 'COMPLETED', 'EXPIRED', 'FAILED', 'RUNNING', 'PENDING', 'CANCELED'])[1 + n % 7]
        END AS status
    FROM generate_series(1, :exports) AS n
    CROSS JOIN LATERAL (SELECT (ARRAY['CONTACTS CSV', 'CAMPAIGN_RECIPIENTS XLSX', 'DELIVERY_REPORTS CSV',
        'MAILING XLSX', 'LETTERS ZIP', 'CONTACTS XLSX', 'CAMPAIGN_RECIPIENTS CSV', 'MAILING CSV',
        'DELIVERY_REPORTS JSONL', 'CONTACTS JSONL', 'DELIVERY_REPORTS XLSX', 'CAMPAIGN_RECIPIENTS JSONL'
    ])[1 + (n - 1) % 12]) AS details (pair)
), scopes AS (
    SELECT *, format IN ('CSV', 'JSONL') AND status IN ('COMPLETED', 'EXPIRED') AS small,
        CASE kind WHEN 'LETTERS' THEN letters[1 + n % cardinality(letters)]
            WHEN 'CAMPAIGN_RECIPIENTS' THEN emails[1 + n % cardinality(emails)]
            WHEN 'DELIVERY_REPORTS' THEN CASE WHEN n % 2 = 1 OR format <> 'XLSX'
                THEN emails[1 + n % cardinality(emails)] END END AS campaign_id
    FROM kinds CROSS JOIN sent
)
SELECT n, pg_temp.id_of('export', n), kind, format, status,
    1 + pg_temp.roll('requested by', n, :users - 1), asked_at, campaign_id,
    CASE WHEN campaign_id IS NOT NULL THEN jsonb_build_object('campaignId', campaign_id)
        WHEN kind = 'DELIVERY_REPORTS' THEN jsonb_build_object(
            'startDateTime', pg_temp.timestamp_text(asked_at - interval '31 days'),
            'endDateTime', pg_temp.timestamp_text(asked_at - interval '1 day'))
        WHEN kind = 'MAILING' THEN jsonb_build_object('filter', jsonb_build_array(CASE WHEN small
            THEN pg_temp.condition('created_at', 'lte', to_jsonb(pg_temp.timestamp_text(twentieth.created_at)))
            ELSE pg_temp.condition('fixed_fields.city', 'eq', '"Aarhus"') END))
        WHEN small THEN jsonb_build_object('contactIds', twentieth.ids)
        WHEN n % 3 = 0 THEN jsonb_build_object('listIds', jsonb_build_array(:list_base + 1, :list_base + 2))
        ELSE '{}' END
FROM scopes
LEFT JOIN (SELECT id, send_at FROM demo_campaigns) AS campaign ON campaign.id = campaign_id
CROSS JOIN LATERAL (SELECT greatest(send_at + interval '1 hour', pg_temp.now() - CASE status
    WHEN 'COMPLETED' THEN make_interval(mins => 60 + pg_temp.roll('asked', n, 500))
    WHEN 'EXPIRED' THEN make_interval(mins => 14400 + pg_temp.roll('asked', n, 700 * 1440))
    WHEN 'PENDING' THEN make_interval(secs => pg_temp.roll('asked', n, 300))
    WHEN 'RUNNING' THEN make_interval(secs => 60 + pg_temp.roll('asked', n, 900))
    WHEN 'CANCELING' THEN make_interval(secs => 60 + pg_temp.roll('asked', n, 900))
    ELSE make_interval(mins => 1440 + pg_temp.roll('asked', n, 700 * 1440))
END)) AS request (asked_at)
CROSS JOIN (
    SELECT max(created_at), jsonb_agg(id ORDER BY n)
    FROM demo_people
    JOIN contacts ON contacts.company_id = :company_id AND contacts.id = pg_temp.id_of('contact', n)
    WHERE n <= 20
) AS twentieth (created_at, ids)

-- step: regenerations
-- The first expired export in a format that is written here was asked for again and is there; another waits.
INSERT INTO demo_exports (n, id, kind, format, status, author, created_at, campaign_id, parameters, regenerated_from_id)
SELECT :exports + rank, pg_temp.id_of('export', :exports + rank), kind, format,
    CASE WHEN written THEN 'COMPLETED' ELSE 'PENDING' END, author, pg_temp.now() - make_interval(mins => 20 * rank),
    campaign_id, parameters, id
FROM (
    SELECT *, row_number() OVER (ORDER BY written DESC)::integer AS rank
    FROM (
        SELECT *, row_number() OVER (PARTITION BY written ORDER BY n) AS position
        FROM demo_exports CROSS JOIN LATERAL (SELECT format IN ('CSV', 'JSONL')) AS details (written)
        WHERE status = 'EXPIRED'
    ) AS expired
    WHERE position = 1
) AS chosen

-- step: export outcomes
UPDATE demo_exports SET
    finished_at = CASE WHEN status IN ('COMPLETED', 'EXPIRED') THEN created_at + interval '20 seconds' END,
    rows_total = CASE WHEN status <> 'PENDING' THEN size END,
    rows_processed = CASE WHEN status = 'EXPIRED' THEN size WHEN status = 'PENDING' THEN 0
        ELSE size * pg_temp.roll('processed', n, 90) / 100 END,
    bytes = CASE WHEN status = 'EXPIRED' THEN size * (60 + pg_temp.roll('width', n, 90)) END,
    sha256 = CASE WHEN status = 'EXPIRED' THEN encode(sha256(convert_to(id::text, 'UTF8')), 'hex') END,
    file_id = CASE WHEN status IN ('COMPLETED', 'EXPIRED') THEN pg_temp.id_of('file', n) END,
    file_key = CASE WHEN status IN ('COMPLETED', 'EXPIRED')
        THEN format('exports/%s/%s.%s', :company_id, id, lower(format)) END
FROM (
    SELECT export.n, CASE export.kind
        WHEN 'DELIVERY_REPORTS' THEN coalesce(3 * recipients, :recipients / 8)
        WHEN 'MAILING' THEN :contacts / 6
        ELSE coalesce(recipients, CASE WHEN export.parameters = '{}' THEN :contacts ELSE :contacts / 4 END) END
    FROM demo_exports AS export LEFT JOIN demo_campaigns AS campaign ON campaign.id = export.campaign_id
) AS sizes (sized, size)
WHERE sized = n

-- step: files
INSERT INTO files (company_id, id, name, content_type, key, bytes, sha256, created_at, expires_at)
SELECT :company_id, file_id,
    translate(lower(kind), '_', '-') || to_char(finished_at, '-YYYY-MM-DD.') || lower(format),
    CASE format WHEN 'CSV' THEN 'text/csv; charset=utf-8' WHEN 'JSONL' THEN 'application/jsonl'
        WHEN 'ZIP' THEN 'application/zip'
        ELSE 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet' END,
    file_key, bytes, sha256, finished_at,
    CASE status WHEN 'COMPLETED' THEN pg_temp.now() ELSE finished_at END + interval '7 days'
FROM demo_exports WHERE file_id IS NOT NULL

-- step: exports
INSERT INTO exports (company_id, id, kind, format, status, parameters, requested_by_id, campaign_id, exported_at,
    rows_total, rows_processed, bytes, sha256, file_id, error_code, error_message, regenerated_from_id, created_at,
    updated_at, updated_in_db_at)
SELECT :company_id, id, kind, format, status, parameters, :user_base + author, campaign_id, finished_at, rows_total,
    rows_processed, bytes, sha256, file_id, CASE WHEN status = 'FAILED' THEN error[1] END,
    CASE WHEN status = 'FAILED' THEN error[2] END, regenerated_from_id, created_at, changed_at, changed_at
FROM demo_exports
CROSS JOIN LATERAL (SELECT coalesce(finished_at, CASE status WHEN 'PENDING' THEN created_at
    ELSE least(created_at + interval '30 seconds', pg_temp.now()) END)) AS change (changed_at)
CROSS JOIN LATERAL (SELECT CASE pg_temp.roll('error', n, 3)
    WHEN 0 THEN ARRAY['STORAGE_UNAVAILABLE', 'The file store could not be reached, or refused the file.']
    WHEN 1 THEN ARRAY['DISK_FULL', 'There was no room for the file.']
    ELSE ARRAY['INTERNAL_ERROR', 'Something went wrong while it was written.'] END) AS failure (error)
ORDER BY n
