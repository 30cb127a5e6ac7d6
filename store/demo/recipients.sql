-- What became of the campaigns that went out.

-- step: recipients by campaigns
INSERT INTO recipients (company_id, id, campaign_id, contact_id, status, address, sent_at, created_at, updated_at)
SELECT :company_id, recipient_id, campaign.id, contact_id, outcome, address,
    CASE WHEN outcome IN ('SENT', 'DELIVERED', 'BOUNCED', 'UNSUBSCRIBED') THEN sent_at END, send_at,
    CASE outcome WHEN 'QUEUED' THEN send_at WHEN 'UNSUBSCRIBED' THEN sent_at + interval '5 hours'
        ELSE sent_at + interval '2 seconds' END
FROM demo_campaigns AS campaign
CROSS JOIN LATERAL generate_series(0, recipients - 1) AS position
CROSS JOIN LATERAL (SELECT first_recipient + position, send_at + make_interval(secs => 1 + position % 59))
    AS numbered (recipient_id, sent_at)
CROSS JOIN LATERAL (SELECT pg_temp.delivery(status, type, pg_temp.delivery_die(turn, position, recipient_id)))
    AS delivered (outcome)
JOIN demo_reachable AS reachable ON reachable.place = campaign.place + (start + position) % pool
WHERE n BETWEEN :first AND :last

-- step: messages by campaigns
INSERT INTO campaign_messages (company_id, id, subject, content, created_at, updated_at)
SELECT :company_id, recipient.id, message_subject,
    replace(replace(coalesce(template.content, '{{content}}'), '{{subject}}', coalesce(message_subject, name)),
        '{{content}}', coalesce('<p>Dear ' || contact.first_name || ',</p>', '') || message_content),
    recipient.sent_at, recipient.sent_at
FROM demo_campaigns
JOIN campaigns AS campaign ON campaign.company_id = :company_id AND campaign.id = demo_campaigns.id
JOIN recipients AS recipient ON recipient.company_id = :company_id AND recipient.campaign_id = campaign.id
    AND recipient.sent_at IS NOT NULL
JOIN contacts AS contact ON contact.company_id = :company_id AND contact.id = recipient.contact_id
LEFT JOIN templates AS template ON template.company_id = :company_id AND template.id = campaign.template_id
WHERE n BETWEEN :first AND :last AND campaign.type <> 'TELEPHONE' AND (turn < 72 OR turn % :message_share = 0)

-- step: delivery reports by campaigns
INSERT INTO delivery_reports (company_id, id, recipient_id, campaign_id, status, occurred_at, reply)
SELECT :company_id, (recipient_id - 1) * 4 + event, recipient_id, campaign.id, ladder.status,
    send_at + make_interval(secs => CASE WHEN event = 1 THEN 0 ELSE 1 + position % 59 + delay END),
    CASE type WHEN 'EMAIL' THEN reply END
FROM demo_campaigns AS campaign
CROSS JOIN LATERAL generate_series(0, recipients - 1) AS position
CROSS JOIN LATERAL (SELECT first_recipient + position) AS numbered (recipient_id)
CROSS JOIN LATERAL (SELECT pg_temp.delivery(status, type, pg_temp.delivery_die(turn, position, recipient_id)))
    AS delivered (outcome)
JOIN (VALUES
    ('QUEUED', 1, 'QUEUED', 0, NULL),
    ('SENDING', 1, 'QUEUED', 0, NULL), ('SENDING', 2, 'SENDING', 0, NULL),
    ('SENT', 1, 'QUEUED', 0, NULL), ('SENT', 2, 'SENT', 0, '250 2.0.0 OK: queued'),
    ('DELIVERED', 1, 'QUEUED', 0, NULL), ('DELIVERED', 2, 'SENT', 0, '250 2.0.0 OK: queued'),
    ('DELIVERED', 3, 'DELIVERED', 2, '250 2.0.0 OK'),
    ('DEFERRED', 1, 'QUEUED', 0, NULL), ('DEFERRED', 2, 'DEFERRED', 2, '452 4.2.2 Mailbox full, try again later'),
    ('BOUNCED', 1, 'QUEUED', 0, NULL), ('BOUNCED', 2, 'SENT', 0, '250 2.0.0 OK: queued'),
    ('BOUNCED', 3, 'BOUNCED', 2, '550 5.1.1 No such mailbox here'),
    ('FAILED', 1, 'QUEUED', 0, NULL), ('FAILED', 2, 'FAILED', 2, '554 5.7.1 Message refused'),
    ('UNSUBSCRIBED', 1, 'QUEUED', 0, NULL), ('UNSUBSCRIBED', 2, 'SENT', 0, '250 2.0.0 OK: queued'),
    ('UNSUBSCRIBED', 3, 'DELIVERED', 2, '250 2.0.0 OK'), ('UNSUBSCRIBED', 4, 'UNSUBSCRIBED', 18000, NULL),
    ('UNKNOWN', 1, 'QUEUED', 0, NULL), ('UNKNOWN', 2, 'SENDING', 0, NULL), ('UNKNOWN', 3, 'UNKNOWN', 2, NULL)
) AS ladder (outcome, event, status, delay, reply) USING (outcome)
WHERE n BETWEEN :first AND :last AND (turn < 72 OR turn % :report_share = 0)

-- step: campaign deliveries
INSERT INTO campaign_deliveries (company_id, campaign_id, started_at, ended_at, recipients, excluded, sender,
    template_content, margin_top, margin_right, margin_bottom, margin_left, heartbeat_at, problem_code, problem_message)
SELECT :company_id, campaign.id, plan.send_at,
    CASE WHEN plan.status <> 'SENDING' THEN plan.send_at + interval '2 minutes' END, recipients,
    jsonb_build_object('CONSENT_MISSING', 1 + pg_temp.roll('never asked', n, 40),
        'NO_ADDRESS', 1 + pg_temp.roll('no address', n, 12)),
    CASE plan.type WHEN 'EMAIL' THEN message_sender END, template.content, template.margin_top, template.margin_right,
    template.margin_bottom, template.margin_left, plan.send_at + interval '2 minutes',
    CASE plan.status WHEN 'FAILED' THEN 'NOBODY_REACHED' END,
    CASE plan.status WHEN 'FAILED' THEN 'Nobody could be reached; the recipients'' reports say why.' END
FROM demo_campaigns AS plan
JOIN campaigns AS campaign ON campaign.company_id = :company_id AND campaign.id = plan.id
LEFT JOIN templates AS template ON template.company_id = :company_id AND template.id = campaign.template_id
WHERE recipients IS NOT NULL

-- step: campaign tasks by campaigns
INSERT INTO campaign_tasks (company_id, id, campaign_id, recipient_id, contact_id, user_id, start_at, end_at, done_at,
    done_by_id, created_at, updated_at)
SELECT :company_id, pg_temp.id_of('campaign task', recipient.id::integer), campaign.id, recipient.id,
    recipient.contact_id, callers.ids[1 + recipient.id % cardinality(callers.ids)], task_start_at, task_end_at, done.at,
    CASE WHEN done.at IS NOT NULL THEN callers.ids[1 + recipient.id % cardinality(callers.ids)] END,
    plan.send_at + interval '1 minute', coalesce(done.at, plan.send_at + interval '1 minute')
FROM demo_campaigns AS plan
JOIN campaigns AS campaign ON campaign.company_id = :company_id AND campaign.id = plan.id
JOIN recipients AS recipient ON recipient.company_id = :company_id AND recipient.campaign_id = plan.id
JOIN LATERAL (
    SELECT array_agg(user_id ORDER BY position) AS ids FROM campaign_task_users AS caller
    WHERE caller.company_id = :company_id AND caller.campaign_id = plan.id
) AS callers ON callers.ids IS NOT NULL
CROSS JOIN LATERAL (
    SELECT CASE recipient.status WHEN 'DELIVERED' THEN task_start_at + make_interval(mins => recipient.id::integer % 600)
    END AS at
) AS done
WHERE n BETWEEN :first AND :last AND plan.type = 'TELEPHONE' AND recipient.status IN ('SENT', 'DELIVERED')
    AND (turn < 72 OR turn % :message_share = 0)
