# Reads messages, each after a line with its length in octets, and prints what
# Python's email package thinks of each as a line of JSON.
import email
import email.policy
import hashlib
import json
import sys


def tree(m):
    kind = m.get_content_type()
    inside = m.get_payload() if m.is_multipart() else []
    if kind.startswith("message/") and kind not in ("message/rfc822", "message/global"):
        return {"type": kind}  # Python takes all of them for messages
    if inside:
        return {"type": kind, "parts": [tree(p) for p in inside]}
    octets = m._payload.encode("ascii", "surrogateescape")
    return {"type": kind, "sha256": hashlib.sha256(octets).hexdigest()}


def addresses(m, name):
    field = m[name]
    if field is None:
        return []
    return [[a.display_name, a.username, a.domain] for g in field.groups for a in g.addresses]


while length := sys.stdin.buffer.readline():
    octets = sys.stdin.buffer.read(int(length))
    message = email.message_from_bytes(octets, policy=email.policy.default)
    date = message["date"]
    print(json.dumps({
        "tree": tree(email.message_from_bytes(octets)),
        "subject": str(message["subject"] or "").replace("\t", " "),
        "date": date.datetime.timestamp() if date is not None and date.datetime else None,
        "from": addresses(message, "from"),
        "to": addresses(message, "to"),
        "cc": addresses(message, "cc"),
    }))
