package authres

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"restante/internal/header"
	"restante/internal/mail"
	"restante/internal/screen"
)

const reply = "550 5.7.26"

func TestResults(t *testing.T) {
	w := newWorld(t)
	w.dns.Fail("broken.example", true)
	w.dns.Fail("_dmarc.unknown.example", true)
	w.dns.Fail("k._domainkey.sub.good.example", true)
	for _, c := range []struct {
		what string
		m    message
		want string // behind our name
		then string // the reply, or "junk"
	}{
		{"SPF alone", message{from: "a@good.example", header: "From: a@good.example\r\n"},
			"spf=pass smtp.mailfrom=a@good.example; dkim=none; dmarc=pass header.from=good.example", ""},
		{"all of it", message{from: "a@good.example", helo: "mx.good.example", header: "From: A <a@sub.good.example>\r\n", body: "hello\r\n", signed: true},
			"spf=pass smtp.mailfrom=a@good.example; spf=pass smtp.helo=mx.good.example; dkim=pass header.d=good.example header.s=k header.a=ed25519-sha256; dmarc=pass header.from=sub.good.example", ""},
		{"DKIM alone, forwarded", message{client: "198.51.100.7", from: "a@good.example", header: "From: a@good.example\r\n", signed: true},
			"spf=fail smtp.mailfrom=a@good.example; dkim=pass header.d=good.example header.s=k header.a=ed25519-sha256; dmarc=pass header.from=good.example", ""},
		{"forged", message{client: "198.51.100.7", from: "a@evil.example", helo: "evil.example", header: "From: a@good.example\r\n"},
			"spf=pass smtp.mailfrom=a@evil.example; spf=pass smtp.helo=evil.example; dkim=none; dmarc=fail policy.dmarc=reject header.from=good.example", reply},
		{"forged below", message{client: "198.51.100.7", from: "a@evil.example", header: "From: a@x.y.good.example\r\n"},
			"spf=pass smtp.mailfrom=a@evil.example; dkim=none; dmarc=fail policy.dmarc=quarantine header.from=x.y.good.example (quarantined)", "junk"},
		{"quarantine", message{from: "a@soft.example", header: "From: a@soft.example\r\n"},
			"spf=softfail smtp.mailfrom=a@soft.example; dkim=none; dmarc=fail policy.dmarc=quarantine header.from=soft.example (quarantined)", "junk"},
		{"policy none", message{client: "198.51.100.7", from: "a@good.example", header: "From: a@evil.example\r\n"},
			"spf=fail smtp.mailfrom=a@good.example; dkim=none; dmarc=fail policy.dmarc=none header.from=evil.example", ""},
		{"no policy, SPF fails", message{from: "a@nopolicy.example", header: "From: a@nopolicy.example\r\n"},
			"spf=fail smtp.mailfrom=a@nopolicy.example; dkim=none; dmarc=none header.from=nopolicy.example", ""},
		{"nothing at all", message{from: "a@nothing.example", helo: "client.local", header: "From: a@nothing.example\r\n"},
			"spf=none smtp.mailfrom=a@nothing.example; dkim=none; dmarc=none header.from=nothing.example", ""},
		{"strict SPF", message{from: "a@sub.strict.example", header: "From: a@strict.example\r\n"},
			"spf=pass smtp.mailfrom=a@sub.strict.example; dkim=none; dmarc=fail policy.dmarc=reject header.from=strict.example", reply},
		{"strict SPF, exact", message{from: "a@strict.example", header: "From: a@strict.example\r\n"},
			"spf=pass smtp.mailfrom=a@strict.example; dkim=none; dmarc=pass header.from=strict.example", ""},
		{"two policies are none", message{from: "a@evil.example", header: "From: a@twice.example\r\n"},
			"spf=pass smtp.mailfrom=a@evil.example; dkim=none; dmarc=none header.from=twice.example", ""},
		{"international", message{from: "a@bücher.example", header: "From: a@BÜCHER.example\r\n"},
			"spf=pass smtp.mailfrom=a@xn--bcher-kva.example; dkim=none; dmarc=pass header.from=xn--bcher-kva.example", ""},
		{"international, forged", message{from: "a@evil.example", header: "From: a@xn--bcher-kva.example\r\n"},
			"spf=pass smtp.mailfrom=a@evil.example; dkim=none; dmarc=fail policy.dmarc=reject header.from=xn--bcher-kva.example", reply},
		{"quoted sender", message{from: `"x@evil.example> (y"@good.example`, header: "From: a@good.example\r\n"},
			"spf=pass smtp.mailfrom=good.example; dkim=none; dmarc=pass header.from=good.example", ""},
		{"sender in UTF-8", message{from: "jörg@good.example", header: "From: a@good.example\r\n"},
			"spf=pass smtp.mailfrom=good.example; dkim=none; dmarc=pass header.from=good.example", ""},
		{"null sender", message{helo: "mx.good.example", header: "From: MAILER-DAEMON@good.example\r\n"},
			"spf=pass smtp.helo=mx.good.example; dkim=none; dmarc=pass header.from=good.example", ""},
		{"null sender, forged", message{client: "198.51.100.7", helo: "mx.good.example", header: "From: a@good.example\r\n"},
			"spf=fail smtp.helo=mx.good.example; dkim=none; dmarc=fail policy.dmarc=reject header.from=good.example", reply},
		{"null sender, no name", message{helo: "[192.0.2.1]", header: "From: a@nothing.example\r\n"},
			"spf=none; dkim=none; dmarc=none header.from=nothing.example", ""},
		{"address literals", message{from: "a@[192.0.2.1]", helo: "pc", header: "From: a@[192.0.2.1]\r\n"},
			"spf=none smtp.mailfrom=a@[192.0.2.1]; dkim=none; dmarc=none header.from=\"[192.0.2.1]\"", ""},
		{"IPv6", message{client: "2001:db8::7", from: "a@six.example", header: "From: a@six.example\r\n"},
			"spf=pass smtp.mailfrom=a@six.example; dkim=none; dmarc=none header.from=six.example", ""},
		{"endless SPF", message{from: "a@loop.example", header: "From: a@loop.example\r\n"},
			"spf=permerror smtp.mailfrom=a@loop.example; dkim=none; dmarc=none header.from=loop.example", ""},
		{"void lookups", message{from: "a@void.example", header: "From: a@void.example\r\n"},
			"spf=permerror smtp.mailfrom=a@void.example; dkim=none; dmarc=none header.from=void.example", ""},
		{"SPF unknown for now", message{from: "a@broken.example", header: "From: a@nothing.example\r\n"},
			"spf=temperror smtp.mailfrom=a@broken.example; dkim=none; dmarc=none header.from=nothing.example", ""},
		{"policy unknown for now", message{from: "a@evil.example", header: "From: a@unknown.example\r\n"},
			`spf=pass smtp.mailfrom=a@evil.example; dkim=none; dmarc=temperror reason="policy could not be asked for" header.from=unknown.example`, ""},
		{"key unknown for now", message{from: "a@evil.example", header: signatureOf("sub.good.example") + "From: a@good.example\r\n"},
			`spf=pass smtp.mailfrom=a@evil.example; dkim=temperror reason="key could not be asked for" header.d=sub.good.example header.s=k header.a=rsa-sha256; ` +
				`dmarc=temperror reason="a name server did not answer" header.from=good.example`, ""},
		{"no key", message{from: "a@evil.example", header: signatureOf("nothing.good.example") + "From: a@good.example\r\n"},
			`spf=pass smtp.mailfrom=a@evil.example; dkim=permerror reason="no key" header.d=nothing.good.example header.s=k header.a=rsa-sha256; ` +
				`dmarc=fail policy.dmarc=reject header.from=good.example`, reply},
		{"changed on the way", message{from: "a@evil.example", header: "From: a@good.example\r\nSubject: x\r\n", signed: true,
			change: func(m *screen.Message) {
				m.Header = []byte(strings.Replace(string(m.Header), "Subject: x", "Subject: y", 1))
			}},
			`spf=pass smtp.mailfrom=a@evil.example; dkim=fail reason="signature did not verify" header.d=good.example header.s=k header.a=ed25519-sha256; ` +
				`dmarc=fail policy.dmarc=reject header.from=good.example`, reply},
		{"two authors, one forged", message{from: "a@evil.example", header: "From: a@evil.example, b@good.example\r\n"},
			"spf=pass smtp.mailfrom=a@evil.example; dkim=none; dmarc=pass header.from=evil.example; dmarc=fail policy.dmarc=reject header.from=good.example", reply},
		{"two From fields", message{from: "a@evil.example", header: "From: a@evil.example\r\nFrom: b@good.example\r\n"},
			`spf=pass smtp.mailfrom=a@evil.example; dkim=none; dmarc=permerror reason="several From fields"`, "550 5.7.1"},
		{"ambiguous From", message{from: "a@evil.example", header: "From: <a@evil.example> <b@good.example>\r\n"},
			`spf=pass smtp.mailfrom=a@evil.example; dkim=none; dmarc=permerror reason="ambiguous From field"`, "550 5.7.1"},
		{"no From", message{from: "a@evil.example", header: "Subject: x\r\n"},
			`spf=pass smtp.mailfrom=a@evil.example; dkim=none; dmarc=permerror reason="no author" (quarantined)`, "junk"},
	} {
		v := w.judge(c.m)
		if got, want := brief(v), us+"; "+c.want; got != want {
			t.Errorf("%s:\n got %s\nwant %s", c.what, got, want)
		}
		then := ""
		switch {
		case v.Refuse.Code != 0:
			then = v.Refuse.String()
		case v.Quarantine != "":
			then = "junk"
		}
		if !strings.HasPrefix(then, c.then) || (then == "") != (c.then == "") {
			t.Errorf("%s: %q, want %q", c.what, then, c.then)
		}
	}
}

// signatureOf is a signature that is well formed.
func signatureOf(domain string) string {
	return "DKIM-Signature: v=1; a=rsa-sha256; d=" + domain + "; s=k; h=from; bh=AAAA; b=AAAA\r\n"
}

// The configuration bounds what policies may do.
func TestActions(t *testing.T) {
	w := newWorld(t)
	w.dns.Fail("_dmarc.unknown.example", true)
	w.dns.Fail("broken.example", true)
	forged := message{from: "a@evil.example", header: "From: a@good.example\r\n"}
	spfFails := message{from: "a@nopolicy.example", header: "From: a@nopolicy.example\r\n"}
	forwarded := message{client: "198.51.100.7", from: "a@good.example", header: "From: a@good.example\r\n", signed: true}
	unknown := message{from: "a@evil.example", header: "From: a@unknown.example\r\n"}
	spfUnknown := message{from: "a@broken.example", header: "From: a@nothing.example\r\n"}
	for _, c := range []struct {
		what       string
		m          message
		dmarc, spf Action
		later      bool
		want       string
	}{
		{"noted", forged, None, None, false, ""},
		{"the zero value", forged, "", "", false, ""},
		{"junk", forged, Quarantine, None, false, "junk"},
		{"refused", forged, Reject, None, false, "550 5.7.26"},
		{"SPF noted", spfFails, Reject, None, false, ""},
		{"SPF junk", spfFails, None, Quarantine, false, "junk"},
		{"SPF refused", spfFails, None, Reject, false, "550 5.7.23"},
		{"the stricter one", forged, Quarantine, Reject, false, "junk"},
		{"SPF fails, DMARC passes", forwarded, Reject, Reject, false, ""},
		{"unknown for now", unknown, Reject, None, false, ""},
		{"unknown for now, come again", unknown, Reject, None, true, "451 4.4.3"},
		{"unknown for now, of no matter", unknown, None, None, true, ""},
		{"SPF unknown for now, of no matter", spfUnknown, Reject, None, true, ""},
		{"SPF unknown for now, come again", spfUnknown, Reject, Quarantine, true, "451 4.4.3"},
		{"two From fields, noted", message{from: "a@evil.example", header: "From: a@x.example\r\nFrom: b@y.example\r\n"}, None, None, false, ""},
		{"two From fields, junk", message{from: "a@evil.example", header: "From: a@x.example\r\nFrom: b@y.example\r\n"}, Quarantine, None, false, "junk"},
	} {
		w.opt.DMARC, w.opt.SPF, w.opt.Defer = c.dmarc, c.spf, c.later
		v := w.judge(c.m)
		got := ""
		switch {
		case v.Refuse.Code != 0:
			got = v.Refuse.String()
		case v.Quarantine != "":
			got = "junk"
		}
		if !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

func TestPercent(t *testing.T) {
	w := newWorld(t)
	count := make(map[Action]int)
	for i := range 100 {
		w.opt.DMARC = Reject
		v := w.judge(message{from: "a@evil.example", header: "From: a@half.example\r\n", change: func(m *screen.Message) { m.ID = mail.ID{9: byte(i)} }})
		switch {
		case v.Refuse.Code != 0:
			count[Reject]++
		case v.Quarantine != "":
			count[Quarantine]++
		}
	}
	if count[Reject] != 50 || count[Quarantine] != 50 {
		t.Errorf("of 100 with pct=50: %v", count)
	}
}

// Only mail from outside is evaluated, and only who is trusted may use our name.
func TestWhoIsEvaluated(t *testing.T) {
	w := newWorld(t)
	plain := "From: a@good.example\r\n"
	claim := "Authentication-Results: " + us + "; spf=pass\r\n" + plain
	for _, c := range []struct {
		what            string
		header          string
		change          func(*screen.Message)
		judged, deletes bool
	}{
		{"outside", plain, nil, true, false},
		{"outside, claim", claim, nil, true, true},
		{"account", plain, func(m *screen.Message) { m.Envelope.Client.Account = "a@here.example" }, false, false},
		{"account, claim", claim, func(m *screen.Message) { m.Envelope.Client.Account = "a@here.example" }, false, true},
		{"trusted", plain, func(m *screen.Message) { m.Trusted = true }, false, false},
		{"trusted, claim", claim, func(m *screen.Message) { m.Trusted = true }, false, false},
		{"LMTP", plain, func(m *screen.Message) { m.Envelope.Client.Protocol = "LMTPS" }, false, false},
		{"LMTP, claim", claim, func(m *screen.Message) { m.Envelope.Client.Protocol = "LMTP" }, false, true},
	} {
		v := w.judge(message{from: "a@good.example", header: c.header, change: c.change})
		if (len(v.Fields) > 0) != c.judged || (len(v.Edits) > 0) != c.deletes {
			t.Errorf("%s: fields %q, edits %v", c.what, v.Fields, v.Edits)
		}
	}
}

// A name server that does not answer costs the time allowed, and no mail; and a
// stranger's must not keep the author's policy from being found.
func TestSlowNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.opt.Resolver = slow{w.opt.Resolver}
	w.opt.Timeout = 2 * time.Second // in which the others have answered
	v := w.judge(message{from: "a@slow.example", helo: "slow.example", header: strings.Repeat(signatureOf("slow.example"), 3) + signatureOf("good.example") + "From: a@good.example\r\n"})
	if v.Refuse.Code != 550 {
		t.Errorf("slow names hide a forgery: %s", brief(v))
	}
	v = w.judge(message{from: "a@slow.example", header: "From: a@slow.example\r\n"})
	if got := brief(v); v.Refuse.Code != 0 || !strings.Contains(got, "spf=temperror") || !strings.Contains(got, "dmarc=temperror") {
		t.Errorf("%v %s", v.Refuse, got)
	}
}

// slow never answers questions about slow.example.
type slow struct{ Resolver }

func (s slow) LookupTXT(ctx context.Context, name string) ([]string, error) {
	if strings.HasSuffix(name, "slow.example") {
		<-ctx.Done()
		return nil, temporary(name)
	}
	return s.Resolver.LookupTXT(ctx, name)
}

// Close ends the lookups of a message that is given up, and waits for them.
func TestClose(t *testing.T) {
	w := newWorld(t)
	w.opt.Resolver = slow{w.opt.Resolver}
	w.opt.Timeout = time.Hour
	j, err := New(w.opt).Begin(context.Background(), outside(message{from: "a@slow.example", header: "From: a@slow.example\r\n"}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := j.Verdict(ctx); err == nil {
		t.Error("a verdict without answers")
	}
	j.Close()
	select {
	case <-j.(*judge).done:
	default:
		t.Error("the lookups outlive Close")
	}
}

// One message makes us ask only so much.
func TestQuestionsAreBounded(t *testing.T) {
	var terms []string
	more := []string{}
	for i := range 10 {
		terms = append(terms, fmt.Sprintf("mx:m%d.greedy.example", i))
		for k := range 10 {
			more = append(more, fmt.Sprintf("m%d.greedy.example. MX 10 h%d-%d.greedy.example.", i, i, k), fmt.Sprintf("h%d-%d.greedy.example. A 203.0.113.1", i, k))
		}
	}
	w := newWorld(t, append(more, `greedy.example. TXT "v=spf1 `+strings.Join(terms, " ")+` -all"`)...)
	w.opt.Questions = 30
	v := w.judge(message{from: "a@greedy.example", header: "From: a@good.example\r\n"})
	if got := brief(v); !strings.Contains(got, "spf=permerror") || v.Refuse.Code != 550 {
		t.Errorf("%v %s", v.Refuse, got)
	}
	if n := len(w.dns.Queries()); n > 40 {
		t.Errorf("%d questions", n)
	}
}

func TestTheFieldIsFoldedWell(t *testing.T) {
	w := newWorld(t)
	v := w.judge(message{from: "a@good.example", header: "From: a@good.example\r\n", body: "x", signed: true})
	for line := range strings.SplitSeq(strings.TrimSuffix(string(v.Fields), "\r\n"), "\r\n") {
		if len(line) > 200 || strings.ContainsAny(line, "\r\n") {
			t.Errorf("line %q", line)
		}
	}
	f := header.Parse(v.Fields).Fields()[0]
	if !claimed(string(f.RawValue()), us) {
		t.Error("our own field is not known as ours")
	}
}

// BenchmarkEvaluate is the cost of one message with all of the DNS in the cache.
func BenchmarkEvaluate(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10} {
		b.Run(map[int]string{4 << 10: "4KiB", 64 << 10: "64KiB"}[size], func(b *testing.B) {
			w := newWorld(b)
			m := message{from: "a@good.example", helo: "mx.good.example", header: "From: a@good.example\r\nTo: b@here.example\r\nSubject: x\r\n",
				body: strings.Repeat("A line of text, as they are in mail  \r\n", size/39), signed: true}
			signed := sign(b, w, m)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				j, err := New(w.opt).Begin(context.Background(), outside(signed))
				if err != nil {
					b.Fatal(err)
				}
				j.Write([]byte(signed.body))
				if v, err := j.Verdict(context.Background()); err != nil || v.Refuse.Code != 0 {
					b.Fatal(v, err)
				}
				j.Close()
			}
		})
	}
}
