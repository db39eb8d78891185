package dsn

import (
	"bytes"
	"encoding/json"
	"maps"
	"mime"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"restante/internal/needs"
)

// reader reads reports with the standard library of Python, and prints what is
// in them, one line for each: the header, the parts, the fields for programs.
// It fails on any defect that library finds. Its arguments are files; ":utf8"
// behind the name allows UTF-8 in headers.
const reader = `
import sys, json, email, email.policy, email.utils
from email import errors

def raw(m, name):
    for n, v in m.raw_items():
        if n.lower() == name:
            return v.encode("utf-8", "surrogateescape").decode("utf-8").replace("\r\n", "")

def parsed(text):
    return email.message_from_string(text.replace("\r\n", "\n"), policy=email.policy.SMTPUTF8)

def fields(part):
    blocks = [dict(b.items()) for b in part.get_payload()]
    if part.get_content_subtype() == "global-delivery-status":
        # This library takes it for a message: the first block its header.
        rest = part.get_payload(0).get_payload(decode=True).decode("utf-8").replace("\r\n", "\n")
        blocks += [dict(parsed(b).items()) for b in rest.strip("\n").split("\n\n")]
    return [{k.lower(): v for k, v in b.items()} for b in blocks]

def read(path, utf8):
    with open(path, "rb") as f:
        m = email.message_from_binary_file(f, policy=email.policy.SMTPUTF8)
    # RFC 6532 allows in a header what this library decodes, and then counts as
    # a defect.
    allowed = (errors.UndecodableBytesDefect, errors.NonASCIILocalPartDefect) if utf8 else ()
    for p in m.walk():
        faults = list(p.defects)
        for name, value in p.items():
            faults += [d for d in getattr(value, "defects", ()) if not isinstance(d, allowed)]
        if faults:
            sys.exit("%s: %s: %s" % (path, p.get_content_type(), faults))
    if m.get_content_type() != "multipart/report" or m.get_param("report-type") != "delivery-status":
        sys.exit("%s: %s" % (path, m["Content-Type"]))
    parts = list(m.iter_parts())
    third = None
    if len(parts) > 2 and parts[2].is_multipart() and parts[2].get_content_subtype() in ("rfc822", "global"):
        third = raw(parts[2].get_payload(0), "subject")
    elif len(parts) > 2 and parts[2].is_multipart():
        third = parts[2].get_payload(0)["Subject"]
    elif len(parts) > 2:
        third = parsed(parts[2].get_payload(decode=True).decode("utf-8"))["Subject"]
    print(json.dumps({
        "subject": raw(m, "subject"), "to": email.utils.parseaddr(raw(m, "to"))[1], "auto": m["Auto-Submitted"],
        "date": m["Date"].datetime.isoformat(), "types": [p.get_content_type() for p in parts],
        "text": parts[0].get_content(), "status": fields(parts[1]), "third": third,
    }))

for arg in sys.argv[1:]:
    path, _, mark = arg.partition(":")
    read(path, mark == "utf8")
`

type read struct {
	Subject, To, Auto, Date, Text, Third string
	Types                                []string
	Status                               []map[string]string
}

// Another parser, of another school, reads every kind of report and finds no
// fault with it.
func TestPythonReadsEveryKind(t *testing.T) {
	python := needs.Program(t, "python3")
	all, dir := kinds(t), t.TempDir()
	args := []string{"-X", "utf8", "-c", reader}
	names := slices.Sorted(maps.Keys(all))
	for _, name := range names {
		var buf bytes.Buffer
		if _, err := all[name].Write(&buf); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		if all[name].UTF8() {
			path += ":utf8"
		}
		args = append(args, path)
	}
	var faults bytes.Buffer
	cmd := exec.Command(python, args...)
	cmd.Stderr = &faults
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, faults.Bytes())
	}
	lines := json.NewDecoder(bytes.NewReader(out))
	for _, name := range names {
		var got read
		if err := lines.Decode(&got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Run(name, func(t *testing.T) { checkRead(t, all[name], got) })
	}
}

func checkRead(t *testing.T, r *Report, got read) {
	t.Helper()
	to := r.Envelope.From
	if r.DeadLetter {
		to = r.To
	}
	want(t, "To", got.To, to.String())
	want(t, "Auto-Submitted", got.Auto, "auto-replied")
	want(t, "Date", got.Date, "2026-03-04T05:06:07+00:00")
	first := r.Recipients[0]
	has(t, "Subject", got.Subject, first.To.String())
	has(t, "the text", got.Text, "<"+first.To.String()+">")
	types := "text/plain message/delivery-status"
	if r.UTF8() {
		types = "text/plain message/global-delivery-status"
	}
	has(t, "the types", strings.Join(got.Types, " "), types)
	if r.Message != nil {
		has(t, "the text", got.Text, "Café")
		if subject, err := new(mime.WordDecoder).DecodeHeader(got.Third); err != nil || subject != "Café" {
			t.Errorf("subject of the third part: %q, %v", got.Third, err)
		}
	}
	if len(got.Status) != 1+len(r.Recipients) {
		t.Fatalf("%d blocks of fields, %d recipients", len(got.Status), len(r.Recipients))
	}
	want(t, "Reporting-MTA", got.Status[0]["reporting-mta"], "dns; relay.test")
	want(t, "Arrival-Date", got.Status[0]["arrival-date"], "Wed, 4 Mar 2026 04:06:07 +0000")
	want(t, "Original-Envelope-Id", got.Status[0]["original-envelope-id"], "env-1")
	for i, rcpt := range r.Recipients {
		block := got.Status[1+i]
		want(t, "Final-Recipient", block["final-recipient"], addressType(rcpt.To)+"; "+rcpt.To.String())
		want(t, "Action", block["action"], string(r.Action))
		want(t, "Final-Log-ID", block["final-log-id"], r.Original.String())
		if block["status"] == "" || block["diagnostic-code"] == "" {
			t.Errorf("recipient %d: %v", i, block)
		}
		if remote := rcpt.said().Remote; remote != "" {
			want(t, "Remote-MTA", block["remote-mta"], "dns; mx.example.com")
			has(t, "Diagnostic-Code", block["diagnostic-code"], "smtp; ")
		} else {
			has(t, "Diagnostic-Code", block["diagnostic-code"], "x-restante; ")
		}
		if (block["will-retry-until"] != "") != (r.Action == Delayed) || (block["last-attempt-date"] != "") == rcpt.Attempted.IsZero() {
			t.Errorf("recipient %d: %v", i, block)
		}
	}
}
