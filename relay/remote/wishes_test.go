package remote

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/internal/standin"
	"restante/relay"
)

// TestWishesArePassedOn: what the sender asked for goes on to a next hop that
// offers to do it, and to no other.
func TestWishesArePassedOn(t *testing.T) {
	by := func(in time.Duration, back, trace bool) func(*relay.Job) {
		return func(j *relay.Job) {
			j.Envelope.By = mail.By{At: time.Now().Add(in), Return: back, Trace: trace}
		}
	}
	dsn := func(j *relay.Job) {
		j.Envelope.EnvID, j.Envelope.Ret = "QQ=3+1", mail.ReturnHeaders
		j.Recipients[0].Notify, j.Recipients[0].Original = mail.NotifySuccess|mail.NotifyDelay, "rfc822;B+tag@example.com"
	}
	original := func(s string) func(*relay.Job) {
		return func(j *relay.Job) { j.Recipients[0].Original = s }
	}
	priority := func(n int) func(*relay.Job) { return func(j *relay.Job) { j.Envelope.Priority = n } }
	for _, c := range []struct {
		name       string
		opt        standin.Options
		change     func(*relay.Job)
		code       int
		mail, rcpt string // patterns
		promised   bool
		untimed    bool
	}{
		{"nothing", standin.Options{}, nil, 250, `^SIZE=\d+$`, `^$`, true, true},
		{"DSN", standin.Options{}, dsn, 250, `RET=HDRS ENVID=QQ\+3D3\+2B1$`, `^NOTIFY=SUCCESS,DELAY ORCPT=rfc822;B\+2Btag@example\.com$`, true, true},
		{"DSN that is not offered", standin.Options{Without: []string{"DSN"}}, dsn, 250, `^SIZE=\d+$`, `^$`, false, true},
		{"ORCPT in UTF-8", standin.Options{}, original("utf-8;jürgen\\x+@example.com"), 250, ``, `^ORCPT=utf-8;jürgen\\x{5C}x\\x{2B}@example\.com$`, true, true},
		{"ORCPT in ASCII", standin.Options{Without: []string{"SMTPUTF8"}}, original("utf-8;jürgen@example.com"), 250, ``, `^ORCPT=utf-8;j\\x{FC}rgen@example\.com$`, true, true},
		{"priority", standin.Options{Extra: []string{"MT-PRIORITY MIXER"}}, priority(-4), 250, `MT-PRIORITY=-4$`, ``, true, true},
		{"normal priority", standin.Options{Extra: []string{"MT-PRIORITY MIXER"}}, priority(0), 250, `^SIZE=\d+$`, ``, true, true},
		{"priority that is not offered", standin.Options{}, priority(9), 250, `^SIZE=\d+$`, ``, true, true},
		{"return by", standin.Options{Extra: []string{"DELIVERBY"}}, by(time.Hour, true, true), 250, `BY=3[56]\d\d;RT$`, ``, true, false},
		{"return by, soon enough", standin.Options{Extra: []string{"DELIVERBY 240"}}, by(time.Hour, true, false), 250, `BY=3[56]\d\d;R$`, ``, true, false},
		{"return by, too soon", standin.Options{Extra: []string{"DELIVERBY 240"}}, by(2*time.Minute, true, false), 550, ``, ``, false, false},
		{"return by, not offered", standin.Options{}, by(time.Hour, true, false), 550, ``, ``, false, false},
		{"return by, over", standin.Options{Extra: []string{"DELIVERBY"}}, by(-time.Second, true, false), 550, ``, ``, false, false},
		{"notify by", standin.Options{Extra: []string{"DELIVERBY"}}, by(time.Hour, false, false), 250, `BY=3[56]\d\d;N$`, ``, true, false},
		{"notify by, over", standin.Options{Extra: []string{"DELIVERBY"}}, by(-time.Hour, false, false), 250, `BY=-3600;N$|BY=-360\d;N$`, ``, true, false},
		{"notify by, not offered", standin.Options{}, by(time.Hour, false, false), 250, `^SIZE=\d+$`, ``, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := server(t, c.opt)
			j := job(to(srv), "b@example.com")
			if c.change != nil {
				c.change(&j)
			}
			out := deliver(t, courier(t, Options{}), j)
			if !slices.Equal(codes(out), []int{c.code}) {
				t.Fatalf("outcome %+v", out)
			}
			got := srv.Messages()
			if c.code != 250 {
				if len(got) != 0 || slices.ContainsFunc(srv.Commands(), func(s string) bool { return strings.HasPrefix(s, "MAIL") }) {
					t.Errorf("it was sent: %q", srv.Commands())
				}
				return
			}
			if out.Promised != c.promised || out.Untimed != c.untimed {
				t.Errorf("promised %t, untimed %t", out.Promised, out.Untimed)
			}
			if !regexp.MustCompile(c.mail).MatchString(got[0].MailParams) {
				t.Errorf("MAIL parameters %q, want %s", got[0].MailParams, c.mail)
			}
			if !regexp.MustCompile(c.rcpt).MatchString(got[0].RcptParams[0]) {
				t.Errorf("RCPT parameters %q, want %s", got[0].RcptParams[0], c.rcpt)
			}
		})
	}
}

// TestRecipientLimit: a next hop that says how many recipients it takes is not
// asked to take more at a time.
func TestRecipientLimit(t *testing.T) {
	for extra, want := range map[string]int{
		"LIMITS MAILMAX=9 RCPTMAX=2 RCPTDOMAINMAX=9": 3, "LIMITS rcptmax=5": 1, "LIMITS RCPTMAX=0": 1, "LIMITS RCPTMAX=-1": 1, "LIMITS RCPTMAX": 1, "LIMITS": 1,
		"LIMITS RCPTMAX=99999999999999999999": 1,
	} {
		srv := server(t, standin.Options{Extra: []string{extra}})
		out := deliver(t, courier(t, Options{}), job(to(srv), "a@example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com"))
		if !slices.Equal(codes(out), []int{250, 250, 250, 250, 250}) || len(srv.Messages()) != want {
			t.Errorf("%s: %d transactions, outcome %v", extra, len(srv.Messages()), codes(out))
		}
	}
}

// TestSevenBits: a next hop without 8BITMIME gets what can be read there.
func TestSevenBits(t *testing.T) {
	eight := "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n.grün\r\n" + strings.Repeat("ä\r\n", 30000)
	for _, c := range []struct {
		name    string
		without []string
		want    string
	}{
		{"8BITMIME", nil, eight},
		{"SMTPUTF8 alone", []string{"8BITMIME"}, eight},
		{"neither", []string{"8BITMIME", "SMTPUTF8"}, strings.NewReplacer("8bit", "quoted-printable", "ü", "=C3=BC", "ä", "=C3=A4").Replace(eight)},
		{"neither, no pipelining", []string{"8BITMIME", "SMTPUTF8", "PIPELINING"}, strings.NewReplacer("8bit", "quoted-printable", "ü", "=C3=BC", "ä", "=C3=A4").Replace(eight)},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := server(t, standin.Options{Without: c.without})
			j := job(to(srv), "b@example.com")
			j.Envelope.EightBit, j.Body = true, body(eight)
			out := deliver(t, courier(t, Options{}), j)
			if !slices.Equal(codes(out), []int{250}) {
				t.Fatalf("outcome %+v", out)
			}
			got := srv.Messages()[0]
			if string(got.Data) != c.want {
				t.Errorf("%d octets reached it, want %d: %.200q", len(got.Data), len(c.want), got.Data)
			}
			if narrow := len(c.without) > 1; strings.Contains(got.MailParams, "BODY=8BITMIME") != (len(c.without) == 0) || strings.Contains(got.MailParams, "SIZE") == narrow {
				t.Errorf("parameters %q", got.MailParams)
			}
		})
	}
}

// TestRequireTLSGoesOn: RFC 8689 is kept where the certificate is checked and
// the next hop keeps it too.
func TestRequireTLSGoesOn(t *testing.T) {
	for _, c := range []struct {
		name  string
		extra []string
		route relay.Route
		code  int
	}{
		{"verified, offered", []string{"REQUIRETLS"}, relay.Route{TLS: relay.TLSRequired, Verify: true}, 250},
		{"verified, not offered", nil, relay.Route{TLS: relay.TLSRequired, Verify: true}, 550},
		{"not verified", []string{"REQUIRETLS"}, relay.Route{TLS: relay.TLSRequired}, 550},
		{"opportunistic", []string{"REQUIRETLS"}, relay.Route{TLS: relay.TLSOpportunistic}, 550},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := server(t, standin.Options{TLS: standin.STARTTLS, Extra: c.extra})
			route := to(srv)
			route.TLS, route.Verify = c.route.TLS, c.route.Verify
			j := job(route, "b@example.com")
			j.Envelope.RequireTLS = true
			out := deliver(t, courier(t, Options{RootCAs: srv.RootCAs()}), j)
			if !slices.Equal(codes(out), []int{c.code}) {
				t.Fatalf("outcome %+v", out)
			}
			if got := srv.Messages(); c.code == 250 && (!got[0].TLS || !strings.HasSuffix(got[0].MailParams, " REQUIRETLS")) {
				t.Errorf("TLS %t, %q", got[0].TLS, got[0].MailParams)
			}
		})
	}
}
