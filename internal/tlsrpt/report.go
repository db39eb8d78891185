package tlsrpt

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/mail"
	"net/url"
	"strings"
	"time"
)

// The JSON of RFC 8460 section 4.
type document struct {
	Organization string          `json:"organization-name"`
	Range        dateRange       `json:"date-range"`
	Contact      string          `json:"contact-info"`
	ID           string          `json:"report-id"`
	Policies     []policyResults `json:"policies"`
}

type dateRange struct {
	Start string `json:"start-datetime"`
	End   string `json:"end-datetime"`
}

type policyResults struct {
	Policy struct {
		Type   Kind     `json:"policy-type"`
		String []string `json:"policy-string,omitempty"`
		Domain string   `json:"policy-domain"`
		MX     []string `json:"mx-host,omitempty"`
	} `json:"policy"`
	Summary struct {
		Success int64 `json:"total-successful-session-count"`
		Failure int64 `json:"total-failure-session-count"`
	} `json:"summary"`
	Details []failureDetails `json:"failure-details,omitempty"`
}

type failureDetails struct {
	Result    Result `json:"result-type"`
	Sending   string `json:"sending-mta-ip,omitempty"`
	MX        string `json:"receiving-mx-hostname,omitempty"`
	Helo      string `json:"receiving-mx-helo,omitempty"`
	Receiving string `json:"receiving-ip,omitempty"`
	Count     int64  `json:"failed-session-count"`
	Reason    string `json:"failure-reason-code,omitempty"`
}

// report is one domain's of one day.
type report struct {
	domain    string
	start     time.Time
	id        string
	submitter string
	contact   string
	gz        []byte
}

func (r *Reporter) compose(date, domain string, tallies []tally) (report, error) {
	start, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return report{}, err
	}
	rep := report{domain: domain, start: start, submitter: r.opt.Hostname, contact: r.opt.Contact}
	// The same report has the same name, should it be made twice.
	rep.id = date + "-" + domain + "@" + r.opt.Hostname
	doc := document{
		Organization: r.opt.Organization, Contact: r.opt.Contact, ID: rep.id,
		Range: dateRange{start.Format(time.RFC3339), start.Add(24*time.Hour - time.Second).Format(time.RFC3339)},
	}
	for _, t := range tallies {
		var p policyResults
		p.Policy.Type, p.Policy.String, p.Policy.Domain, p.Policy.MX = t.Kind, t.Policy, domain, t.Patterns
		p.Summary.Success, p.Summary.Failure = t.Success, t.Failure
		for _, d := range t.Details {
			p.Details = append(p.Details, failureDetails{d.Result, d.Sending, d.MX, d.Helo, d.Receiving, d.Count, d.Reason})
		}
		doc.Policies = append(doc.Policies, p)
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return report{}, err
	}
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	if _, err := w.Write(text); err != nil {
		return report{}, err
	}
	if err := w.Close(); err != nil {
		return report{}, err
	}
	rep.gz = gz.Bytes()
	return rep, nil
}

// message is the report as mail (RFC 8460 section 5.3).
func (r report) message(to string, now time.Time) []byte {
	const boundary = "=_tls-report"
	name := fmt.Sprintf("%s!%s!%d!%d.json.gz", r.submitter, r.domain, r.start.Unix(), r.start.Add(24*time.Hour-time.Second).Unix())
	var b strings.Builder
	for _, line := range []string{
		"From: " + r.contact, "To: " + to, "Date: " + now.Format(time.RFC1123Z), "Message-ID: <" + r.id + ">",
		"Subject: Report Domain: " + r.domain + " Submitter: " + r.submitter, " Report-ID: <" + r.id + ">",
		"TLS-Report-Domain: " + r.domain, "TLS-Report-Submitter: " + r.submitter, "TLS-Required: No", "Auto-Submitted: auto-generated",
		"MIME-Version: 1.0", `Content-Type: multipart/report; report-type="tlsrpt";`, "\tboundary=\"" + boundary + `"`, "",
		"--" + boundary, "Content-Type: text/plain; charset=us-ascii", "",
		"How TLS went with the mail exchangers of " + r.domain + ",",
		"on " + r.start.Format(time.DateOnly) + " (UTC), as seen by " + r.submitter + ".", "The attachment is for programs (RFC 8460).", "",
		"--" + boundary, `Content-Type: application/tlsrpt+gzip; name="` + name + `"`, "Content-Transfer-Encoding: base64",
		`Content-Disposition: attachment; filename="` + name + `"`, "",
	} {
		b.WriteString(line + "\r\n")
	}
	for text := base64.StdEncoding.EncodeToString(r.gz); text != ""; {
		n := min(76, len(text))
		b.WriteString(text[:n] + "\r\n")
		text = text[n:]
	}
	b.WriteString("--" + boundary + "--\r\n")
	return []byte(b.String())
}

// maxTargets bounds where one domain's reports go.
const maxTargets = 4

// targets reads where reports go from the TXT records of _smtp._tls (RFC 8460
// section 3): addresses, and https addresses. Several records are as none.
func targets(records []string) []string {
	var found []string
	n := 0
	for _, text := range records {
		version, rest, _ := strings.Cut(text, ";")
		if strings.TrimSpace(version) != "v=TLSRPTv1" {
			continue
		}
		n++
		for f := range strings.SplitSeq(rest, ";") {
			if key, value, _ := strings.Cut(strings.TrimSpace(f), "="); strings.TrimSpace(key) == "rua" {
				for u := range strings.SplitSeq(value, ",") {
					if t, ok := target(strings.TrimSpace(u)); ok && len(found) < maxTargets {
						found = append(found, t)
					}
				}
			}
		}
	}
	if n != 1 {
		return nil
	}
	return found
}

func target(text string) (string, bool) {
	u, err := url.Parse(text)
	if err != nil {
		return "", false
	}
	switch strings.ToLower(u.Scheme) {
	case "https":
		return text, u.Host != ""
	case "mailto":
		address, err := url.PathUnescape(u.Opaque)
		if err != nil {
			return "", false
		}
		a, err := mail.ParseAddress(address)
		if err != nil || a.Name != "" || strings.ContainsAny(a.Address, "\r\n") {
			return "", false
		}
		return a.Address, true
	}
	return "", false
}
