package authres

import (
	"strconv"
	"strings"
)

// record is a DMARC policy record (RFC 7489 section 6.3), as far as a receiver
// needs it that sends no reports.
type record struct {
	policy, subdomains    Action
	strictDKIM, strictSPF bool
	percent               int
}

// isRecord tells whether a TXT record is a DMARC record at all: the version
// comes first.
func isRecord(text string) bool {
	first, _, _ := strings.Cut(text, ";")
	name, value, ok := strings.Cut(first, "=")
	return ok && trim(name) == "v" && trim(value) == "DMARC1"
}

// parseRecord reads a DMARC record. Tags that make no sense count as not given,
// and of a tag that is there twice the first counts. A record without a policy
// that can be understood means "none" if it asks for reports, and is none at
// all otherwise (section 6.6.3).
func parseRecord(text string) (r record, ok bool) {
	if !isRecord(text) {
		return record{}, false
	}
	tags := make(map[string]string)
	for tag := range strings.SplitSeq(text, ";") {
		name, value, _ := strings.Cut(tag, "=")
		name = strings.ToLower(trim(name))
		if _, twice := tags[name]; !twice {
			tags[name] = trim(value)
		}
	}
	r.policy, ok = parseAction(tags["p"])
	if !ok {
		if !reports(tags["rua"]) {
			return record{}, false
		}
		r.policy = None
	}
	if r.subdomains, ok = parseAction(tags["sp"]); !ok {
		r.subdomains = r.policy
	}
	r.strictDKIM = strings.EqualFold(tags["adkim"], "s")
	r.strictSPF = strings.EqualFold(tags["aspf"], "s")
	r.percent = 100
	if n, err := strconv.ParseUint(tags["pct"], 10, 8); err == nil && n <= 100 {
		r.percent = int(n)
	}
	return r, true
}

func parseAction(s string) (Action, bool) {
	a := Action(strings.ToLower(s))
	return a, a == None || a == Quarantine || a == Reject
}

// reports tells whether a list of URIs has one to send reports to.
func reports(rua string) bool {
	for uri := range strings.SplitSeq(rua, ",") {
		scheme, rest, ok := strings.Cut(trim(uri), ":")
		if ok && scheme != "" && rest != "" {
			return true
		}
	}
	return false
}

func trim(s string) string { return strings.Trim(s, " \t\r\n") }
