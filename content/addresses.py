"""Which addresses can be mailed to? Those of RFC 5322 without quoting and comments, in the sizes of RFC 5321."""

from __future__ import annotations

import re
import unicodedata

LONGEST_ADDRESS = 254  # RFC 5321, 4.5.3.1.3: a path of 256 octets with its brackets
LONGEST_LOCAL_PART = 64
ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
LOCAL_PART = re.compile(rf"{ATOM}(?:\.{ATOM})*")
LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def address_problem(address: str) -> str | None:
    """Why it is no address to mail to (a sentence without the address), or None. Spaces around it are a problem too."""
    local, at, domain = address.partition("@")
    if not at or "@" in domain:
        return "An address has one @."
    if len(address) > LONGEST_ADDRESS:
        return f"An address has {LONGEST_ADDRESS} characters at the most."
    if len(local) > LONGEST_LOCAL_PART or not LOCAL_PART.fullmatch(local):
        return "The part before the @ is 1 to 64 ASCII letters, digits and signs, without spaces and quotes."
    in_ascii = ascii_domain(domain)
    # What IDNA would drop or replace, such as zero-width letters: two spellings that look alike are one address.
    if in_ascii is None or unicodedata.normalize("NFKC", domain) != domain or not domain.isprintable():
        return "The part after the @ is not a domain name."
    if len(local) + 1 + len(in_ascii) > LONGEST_ADDRESS:
        return f"An address has {LONGEST_ADDRESS} characters at the most, its domain in ASCII."
    return None


def ascii_address(address: str) -> str:
    """The address as servers take it: the domain in ASCII and lower case. ValueError if `address_problem`."""
    if problem := address_problem(address):
        raise ValueError(problem)
    local, _, domain = address.partition("@")
    return f"{local}@{ascii_domain(domain)}"


def domain_of(address: str) -> str:
    """The domain in ASCII (IDNA) and lower case. ValueError if `address_problem`."""
    return ascii_address(address).partition("@")[2]


def ascii_domain(domain: str) -> str | None:
    """RFC 3490 and RFC 1123, 2.1; None if it is no name of a host. The caller has bounded its length."""
    try:
        labels = domain.encode("idna").decode("ascii").lower().split(".")
    except UnicodeError:
        return None
    if labels[-1].isdigit() or not all(LABEL.fullmatch(label) for label in labels):
        return None
    return ".".join(labels)
