"""What comes back to a return path in tests: reports as mail servers write them, and mails that are no reports."""

from __future__ import annotations

ORIGINAL = """\
Return-Path: <{return_path}>
From: Acme <news@acme.campaigns.example>
To: ada@example.com
Subject: Hello
"""
DELIVERY_REPORT = """\
Return-Path: <>
Delivered-To: {delivered_to}
From: MAILER-DAEMON@mx.example (Mail Delivery System)
To: {delivered_to}
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="9B0AE5F0A.1/mx.example"

This is a MIME-encapsulated message.

--9B0AE5F0A.1/mx.example
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.

--9B0AE5F0A.1/mx.example
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example
Arrival-Date: Sat, 21 Nov 2026 12:00:00 +0000 (UTC)

Final-Recipient: rfc822; ada@example.com
Original-Recipient: rfc822;ada@example.com
{fields}
--9B0AE5F0A.1/mx.example
Content-Description: Undelivered Message
Content-Type: {original_type}

{original}
--9B0AE5F0A.1/mx.example--
"""
COMPLAINT = """\
Return-Path: <feedback@provider.example>
To: abuse@acme.campaigns.example
From: <feedback@provider.example>
Subject: FW: Hello
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="part_of_complaint"

--part_of_complaint
Content-Type: text/plain

This is an email abuse report.

--part_of_complaint
Content-Type: message/feedback-report

Feedback-Type: {type}
User-Agent: SomeGenerator/1.0
Version: 1
Original-Mail-From: <{mail_from}>

--part_of_complaint
Content-Type: message/rfc822

{original}
--part_of_complaint--
"""
MAIL = """\
{headers}To: {to}
Subject: {subject}

I am away, or your mail could not be delivered.
"""


def in_bytes(mail: str) -> bytes:
    return mail.replace("\n", "\r\n").encode()


def delivery_report(
    return_path: str,
    action: str = "failed",
    status: str = "5.1.1",
    diagnostic: str | None = "smtp; 550 5.1.1 <ada@example.com>: no such user",
    *,
    delivered_to: str | None = None,
    original_type: str = "message/rfc822",
    more: str = "",
) -> bytes:
    """As Postfix writes it; `more`: further groups of fields, about other recipients."""
    written = {"Action": action, "Status": status, "Diagnostic-Code": diagnostic}
    fields = "".join(f"{name}: {value}\n" for name, value in written.items() if value)
    original = ORIGINAL.format(return_path=return_path)
    to = delivered_to or return_path
    return in_bytes(
        DELIVERY_REPORT.format(delivered_to=to, fields=fields + more, original_type=original_type, original=original)
    )


def complaint(mail_from: str, return_path: str, type: str = "abuse") -> bytes:
    """A provider's feedback (RFC 5965), which comes to one address for all; the return path may be blackened."""
    original = ORIGINAL.format(return_path=return_path)
    return in_bytes(COMPLAINT.format(type=type, mail_from=mail_from, original=original))


def mail(to: str, subject: str = "Returned mail", **headers: str) -> bytes:
    """A mail that is no report; `headers` have an underscore for a hyphen."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in headers.items())
    return in_bytes(MAIL.format(headers=lines, to=to, subject=subject))
