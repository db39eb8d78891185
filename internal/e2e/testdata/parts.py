# Reads messages, each after a line with its length in octets, and prints what
# Python's email package thinks of each as a line of JSON: its parts, flat, by the
# numbers that IMAP gives them, with the octets of every section.
import base64
import email
import email.policy
import email.utils
import json
import sys


class Exact(email.policy.Compat32):
    """Keeps header fields octet by octet, so that a message can be written as it was."""

    def header_source_parse(self, sourcelines):
        name, _, value = "".join(sourcelines).partition(":")
        return name, value

    def header_fetch_parse(self, name, value):
        return value.strip()

    def fold_binary(self, name, value):
        return raw(name + ":" + value)


policy = Exact()


def raw(s):
    return s.encode("ascii", "surrogateescape")


def cut(m):
    """Header and body. Python's own generator does not write all as it was."""
    head = b"".join(policy.fold_binary(n, v) for n, v in m._headers) + b"\r\n"
    inside = m._payload
    if not isinstance(inside, list):
        return head, raw(inside)
    if m.get_content_maintype() != "multipart":
        return head, b"".join(b"".join(cut(p)) for p in inside)
    delimiter = b"--" + raw(m.get_boundary())
    body = b"" if m.preamble is None else raw(m.preamble) + b"\r\n"
    body += b"".join(delimiter + b"\r\n" + b"".join(cut(p)) + b"\r\n" for p in inside) + delimiter + b"--"
    return head, body if m.epilogue is None else body + b"\r\n" + raw(m.epilogue)


def text(b):
    return base64.b64encode(b).decode()


def params(m, field):
    return {n.lower(): email.utils.collapse_rfc2231_value(v)
            for n, v in m.get_params([], field)[1:]} if m[field] else {}


def unfolded(value):
    return "" if value is None else "".join(value.splitlines()).replace("\t", " ")


def describe(m, number):
    head, body = cut(m)
    kind = m.get_content_type()
    encoding = (m["content-transfer-encoding"] or "7bit").lower()
    disposition = m["content-disposition"]
    part = {
        "number": number, "type": kind, "declared": "content-type" in m, "encoding": encoding,
        "params": params(m, "content-type"), "id": m["content-id"] or "",
        "description": unfolded(m["content-description"]), "location": m["content-location"] or "",
        "language": [l.strip() for l in (m["content-language"] or "").split(",") if l],
        "disposition": (m.get_content_disposition() or "") if disposition else "",
        "dispositionParams": params(m, "content-disposition"),
        "mime": text(head), "body": text(body),
    }
    inside = []
    if kind.startswith("multipart/") and m.is_multipart():
        for i, p in enumerate(m.get_payload()):
            inside += describe(p, number + [i + 1])
    elif kind in ("message/rfc822", "message/global") and m.is_multipart():
        inner = m.get_payload(0)
        head, body = cut(inner)
        part.update(header=text(head), text=text(body), subject=unfolded(inner["subject"]))
        inside = children(inner, number)
    elif encoding in ("7bit", "8bit", "binary", "base64", "quoted-printable") and not m.is_multipart():
        part["decoded"] = text(m.get_payload(decode=True))
    return [part] + inside


def children(m, number):
    if not m.get_content_maintype() == "multipart":
        return describe(m, number + [1])
    parts = []
    for i, p in enumerate(m.get_payload()):
        parts += describe(p, number + [i + 1])
    return parts


while length := sys.stdin.buffer.readline():
    message = sys.stdin.buffer.read(int(length))
    m = email.message_from_bytes(message, policy=policy)
    head, body = cut(m)
    print(json.dumps({"exact": head + body == message, "header": text(head), "text": text(body),
                      "parts": children(m, [])}))
