package remote

import (
	"slices"
	"strings"

	"restante/internal/mail"
)

// strip is called when MAIL was refused, and tells whether that was for its
// parameters, which then are not used any more on this session: those that the
// reply names, or else those that are dispensable, or else all. What the
// message cannot do without is then as if it had never been offered.
func (t *transaction) strip(rep reply) bool {
	status := rep.status("")
	if rep.code != 501 && rep.code != 504 && rep.code != 555 || status.Enhanced[1] == 1 || len(t.used) == 0 {
		return false // X.1.X is about the address
	}
	named := func(keyword string) bool { return speaksOf(status.Text, keyword) }
	dispensable := func(keyword string) bool {
		switch keyword {
		case "8BITMIME", "SMTPUTF8", "REQUIRETLS":
			return false
		}
		return keyword != "DELIVERBY" || !t.job.Envelope.By.Return
	}
	unwanted := t.used
	for _, choose := range []func(string) bool{named, dispensable} {
		if slices.ContainsFunc(t.used, choose) {
			unwanted = slices.DeleteFunc(slices.Clone(t.used), func(k string) bool { return !choose(k) })
			break
		}
	}
	for _, k := range unwanted {
		delete(t.s.ext, k)
	}
	return true
}

// speaksOf tells whether a reply speaks of the parameters of an extension.
func speaksOf(text, keyword string) bool {
	words := strings.FieldsFunc(strings.ToUpper(text), func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z')
	})
	params := []string{keyword}
	switch keyword {
	case "8BITMIME":
		params = append(params, "BODY")
	case "DELIVERBY":
		params = append(params, "BY")
	case "DSN":
		params = append(params, "RET", "ENVID", "NOTIFY", "ORCPT")
	}
	if keyword == "DELIVERBY" && !slices.Contains(words, keyword) {
		// "refused by policy" speaks of no parameter.
		return strings.Contains(strings.ToUpper(text), "BY=")
	}
	return slices.ContainsFunc(params, func(p string) bool { return slices.Contains(words, p) })
}

// tooMany tells whether a RCPT was refused only since there were others.
func tooMany(rep reply) bool {
	e := rep.status("").Enhanced
	return rep.code == 452 && (e == [3]int{} || e == [3]int{4, 5, 3})
}

// sequence tells whether a reply says that a command came where it must not,
// which is never so with ours, or that it is not known.
func sequence(rep reply) bool { return rep.code == 503 && protocol(rep) }

// protocol tells whether a refusal is of the protocol and not of a policy, as
// far as it says so.
func protocol(rep reply) bool {
	e := rep.status("").Enhanced
	return e == [3]int{} || e[1] == 5
}

// disorder gives a session up whose next hop loses its way over an extension
// that it offers. The next connection to it does without.
func (t *transaction) disorder(verb, keyword string, rep reply) error {
	t.s.distrust(keyword)
	t.s.close()
	return again(t.s.fault(soft(verb+", with "+keyword+" as offered: ", rep.status(t.s.remote))))
}

// stripDSN tells whether a RCPT was refused for its parameters (RFC 3461), and
// then leaves the recipient for a transaction without DSN.
func (t *transaction) stripDSN(i int, rep reply) bool {
	if !t.dsn || rep.code != 501 && rep.code != 504 && rep.code != 555 || rep.status("").Enhanced[1] == 1 {
		return false
	}
	r := t.job.Recipients[i]
	if notify(r.Notify) == "" && r.Original == "" {
		return false
	}
	delete(t.s.ext, "DSN")
	return true
}

// refusal is the status of a reply that should have been positive. What is
// neither 4xx nor 5xx makes no sense, and nothing final is concluded from it.
func (t *transaction) refusal(rep reply) mail.Status {
	s := rep.status(t.s.remote)
	if !rep.is(4) && !rep.is(5) {
		s = soft("unexpected reply ", s)
	}
	t.said(s)
	return s
}

func (t *transaction) decideAccepted(s mail.Status) {
	for _, i := range t.accepted {
		t.decide(i, s)
	}
}
