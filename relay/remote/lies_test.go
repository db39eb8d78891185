package remote

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/internal/standin"
	"restante/relay"
	"restante/spool"
)

// verbs are the commands a server heard, without what is not SMTP.
func verbs(srv *standin.Server) (list []string) {
	for _, line := range srv.Commands() {
		verb, _, _ := strings.Cut(line, " ")
		list = append(list, verb)
	}
	return list
}

// everything is a job that uses every extension.
func everything(srv *standin.Server) relay.Job {
	j := job(to(srv), "a@example.com", "b@example.com")
	e := &j.Envelope
	e.EightBit, e.EnvID, e.Ret, e.Priority = true, "314", mail.ReturnFull, 3
	e.By = mail.By{At: time.Now().Add(time.Hour)}
	j.Recipients[0].Notify = mail.NotifyFailure
	j.Recipients[1].Original = "rfc822;b@example.com"
	j.Body = body("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\ngrün\r\n")
	return j
}

// TestLies: a next hop that refuses the parameters of what it offers gets the
// message without them, as one that does not offer it.
func TestLies(t *testing.T) {
	offers := []string{"MT-PRIORITY", "DELIVERBY", "CHUNKING"}
	for _, c := range []struct {
		lie     string
		code    int
		text    string
		without []string // of the parameters that were accepted in the end
		with    []string
	}{
		{"SIZE", 0, "", []string{"SIZE="}, []string{"BODY=8BITMIME", "RET=", "MT-PRIORITY=", "BY="}},
		{"SIZE", 501, "syntax error", []string{"SIZE=", "RET=", "MT-PRIORITY=", "BY="}, []string{"BODY=8BITMIME"}},
		{"8BITMIME", 0, "", []string{"BODY="}, []string{"SIZE=", "RET=", "MT-PRIORITY=", "BY="}},
		{"8BITMIME", 504, "5.5.4 no", []string{"BODY=", "SIZE="}, nil},
		{"DSN", 0, "", []string{"RET=", "ENVID="}, []string{"SIZE=", "BODY=8BITMIME", "MT-PRIORITY="}},
		{"MT-PRIORITY", 0, "", []string{"MT-PRIORITY="}, []string{"SIZE=", "BODY=8BITMIME", "RET=", "BY="}},
		{"DELIVERBY", 0, "", []string{"BY="}, []string{"SIZE=", "BODY=8BITMIME", "RET=", "MT-PRIORITY="}},
	} {
		for _, without := range [][]string{nil, {"PIPELINING"}, {"SMTPUTF8"}} {
			t.Run(fmt.Sprintf("%s %d without %v", c.lie, c.code, without), func(t *testing.T) {
				srv := server(t, standin.Options{Lies: []string{c.lie}, LieCode: c.code, LieText: c.text, Extra: offers, Without: without})
				out := deliver(t, courier(t, Options{}), everything(srv))
				if !slices.Equal(codes(out), []int{250, 250}) || out.Reach != spool.Reached || srv.Connections() != 1 {
					t.Fatalf("outcome %+v by %d connections", out, srv.Connections())
				}
				got := srv.Messages()
				if len(got) != 1 || len(got[0].To) != 2 {
					t.Fatalf("messages %+v", got)
				}
				for _, p := range c.without {
					if strings.Contains(got[0].MailParams, p) {
						t.Errorf("%q has %s", got[0].MailParams, p)
					}
				}
				for _, p := range c.with {
					if !strings.Contains(got[0].MailParams, p) && !(p == "SIZE=" && c.lie == "8BITMIME") {
						t.Errorf("%q has no %s", got[0].MailParams, p)
					}
				}
				// Without 8BITMIME nor SMTPUTF8 there are 7 bits.
				eight := strings.Contains(string(got[0].Data), "ü")
				if narrow := c.lie == "8BITMIME" && slices.Contains(without, "SMTPUTF8"); eight == narrow {
					t.Errorf("message %q", got[0].Data)
				}
			})
		}
	}
}

// TestRefusedParametersOfRecipients: those whose RCPT was refused for its
// parameters get a transaction without them.
func TestRefusedParametersOfRecipients(t *testing.T) {
	for _, text := range []string{"5.5.4 what is %s", ""} {
		srv := server(t, standin.Options{Without: []string{"8BITMIME"}, Lies: []string{"DSN"}, LieCode: 501, LieText: text})
		j := job(to(srv), "a@example.com", "b@example.com", "c@example.com")
		j.Recipients[1].Notify = mail.NotifyFailure
		out := deliver(t, courier(t, Options{}), j)
		got := srv.Messages()
		if !slices.Equal(codes(out), []int{250, 250, 250}) || len(got) != 2 || !slices.Equal(got[1].To, []string{"b@example.com"}) || got[1].RcptParams[0] != "" {
			t.Fatalf("outcome %+v, messages %+v", out, got)
		}
	}
}

// TestAddressRefusedNotParameters: a 501 to an address is one.
func TestAddressRefusedNotParameters(t *testing.T) {
	for _, at := range []standin.Fault{
		{At: standin.Mail, Code: 501, Text: "5.1.7 bad sender"},
		{At: standin.Rcpt, Code: 501, Text: "5.1.3 bad recipient"},
	} {
		srv := server(t, standin.Options{})
		srv.Always(script(at))
		j := everything(srv)
		out := deliver(t, courier(t, Options{}), j)
		if !slices.Equal(codes(out), []int{501, 501}) {
			t.Errorf("outcome %+v", out)
		}
		n := 0
		for _, v := range verbs(srv) {
			if v == "MAIL" {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d MAIL after %s", n, at.Text)
		}
	}
}

// TestParametersRefusedForEver: whoever refuses MAIL with and without
// parameters refuses the message.
func TestParametersRefusedForEver(t *testing.T) {
	srv := server(t, standin.Options{})
	srv.Always(script(standin.Fault{At: standin.Mail, Code: 555, Text: "5.5.4 no"}))
	out := deliver(t, courier(t, Options{}), everything(srv))
	if !slices.Equal(codes(out), []int{555, 555}) || out.Reach != spool.Reached || srv.Connections() != 1 {
		t.Errorf("outcome %+v", out)
	}
}

// TestLieOfUTF8: what needs SMTPUTF8 goes back if the next hop refuses it.
func TestLieOfUTF8(t *testing.T) {
	srv := server(t, standin.Options{Lies: []string{"SMTPUTF8"}})
	j := job(to(srv), "bü@example.com", "b@example.com")
	out := deliver(t, courier(t, Options{}), j)
	if !slices.Equal(codes(out), []int{553, 250}) {
		t.Errorf("outcome %+v", out)
	}
}

// TestLieOfChunking: the message goes with DATA by a fresh connection at once,
// and so do those after it.
func TestLieOfChunking(t *testing.T) {
	for _, without := range [][]string{nil, {"PIPELINING"}} {
		srv := server(t, standin.Options{Extra: []string{"CHUNKING"}, Lies: []string{"CHUNKING"}, Without: without})
		c := courier(t, Options{})
		j := job(to(srv), "a@example.com", "b@example.com")
		j.Envelope.From = mail.Address{}
		for range 2 {
			out := deliver(t, c, j)
			if !slices.Equal(codes(out), []int{250, 250}) || out.Reach != spool.Reached {
				t.Fatalf("outcome %+v", out)
			}
		}
		if srv.Connections() != 2 || len(srv.Messages()) != 2 || string(srv.Messages()[0].Data) != letter {
			t.Errorf("%d messages by %d connections: %v", len(srv.Messages()), srv.Connections(), srv.Commands())
		}
	}
}

// TestLieOfChunkingByLMTP: with answers for each recipient, too, nobody has been
// given the message when BDAT is not known, and the next connection is made at
// once.
func TestLieOfChunkingByLMTP(t *testing.T) {
	for _, without := range [][]string{nil, {"PIPELINING"}} {
		srv := server(t, standin.Options{LMTP: true, Extra: []string{"CHUNKING"}, Lies: []string{"CHUNKING"}, Without: without})
		route := to(srv)
		route.LMTP = true
		out := deliver(t, courier(t, Options{}), job(route, "a@example.com", "b@example.com"))
		if !slices.Equal(codes(out), []int{250, 250}) || srv.Connections() != 2 || len(srv.Messages()) != 2 {
			t.Errorf("outcome %+v, %d messages by %d connections", out, len(srv.Messages()), srv.Connections())
		}
	}
}

// TestLieOfChunkingToNobody: where all recipients are refused the message has
// been sent all the same, and its lines are taken for commands; no reply to
// one is taken for that to the next message.
func TestLieOfChunkingToNobody(t *testing.T) {
	srv := server(t, standin.Options{Extra: []string{"CHUNKING"}, Lies: []string{"CHUNKING"}}, script(standin.Fault{At: standin.Rcpt, Code: 550, Text: "5.1.1 who?"}))
	c := courier(t, Options{})
	j := job(to(srv))
	if out := deliver(t, c, j); !slices.Equal(codes(out), []int{550}) || out.Reach != spool.Reached {
		t.Errorf("outcome %+v", out)
	}
	if out := deliver(t, c, j); !slices.Equal(codes(out), []int{250}) || srv.Connections() != 2 || string(srv.Messages()[0].Data) != letter {
		t.Errorf("outcome %+v by %d connections", out, srv.Connections())
	}
}

// TestChunkRefused: a refusal of the message is not taken for a lie.
func TestChunkRefused(t *testing.T) {
	for _, text := range []string{"550 5.7.1 spam", "500 5.6.0 what a message", "503 5.7.1 not you"} {
		srv := server(t, standin.Options{Extra: []string{"CHUNKING"}}, script(standin.Fault{At: standin.EndOfData, Raw: text + "\r\n"}))
		out := deliver(t, courier(t, Options{}), job(to(srv)))
		if got := out.Results[0].String(); !strings.HasPrefix(got, text) || srv.Connections() != 1 {
			t.Errorf("%s: %s by %d connections", text, got, srv.Connections())
		}
	}
}

// TestLieOfPipelining: a next hop that throws away what comes along with a
// command is waited for once.
func TestLieOfPipelining(t *testing.T) {
	srv := server(t, standin.Options{Lies: []string{"PIPELINING"}})
	c := courier(t, Options{Timeouts: Timeouts{Command: time.Second}})
	j := job(to(srv), "a@example.com", "b@example.com")
	if out := deliver(t, c, j); out.Reach != spool.Unreached || out.Results[0].Class() != mail.Transient {
		t.Fatalf("outcome %+v", out)
	}
	if out := deliver(t, c, j); !slices.Equal(codes(out), []int{250, 250}) {
		t.Errorf("outcome %+v, %v", out, srv.Commands())
	}
}

// TestOutOfOrder: one who takes pipelined commands for errors gets them one
// after the other, by a fresh connection.
func TestOutOfOrder(t *testing.T) {
	for _, at := range []standin.Point{standin.Rcpt, standin.Data} {
		srv := server(t, standin.Options{}, script(standin.Fault{At: at, Code: 503, Text: "improper use of pipelining"}))
		out := deliver(t, courier(t, Options{}), job(to(srv)))
		if !slices.Equal(codes(out), []int{250}) || srv.Connections() != 2 {
			t.Errorf("%s: outcome %+v by %d connections", at, out, srv.Connections())
		}
		// Who says so all the same means it.
		srv = server(t, standin.Options{})
		srv.Always(script(standin.Fault{At: at, Code: 503, Text: "no"}))
		out = deliver(t, courier(t, Options{}), job(to(srv)))
		if !slices.Equal(codes(out), []int{503}) || srv.Connections() != 2 {
			t.Errorf("%s: outcome %+v by %d connections", at, out, srv.Connections())
		}
	}
}

// TestLieOfSize: the limit that is offered is believed, and a refusal beyond
// it too.
func TestLieOfSize(t *testing.T) {
	srv := server(t, standin.Options{Size: 20})
	out := deliver(t, courier(t, Options{}), job(to(srv)))
	if !slices.Equal(codes(out), []int{552}) || slices.Contains(verbs(srv), "MAIL") {
		t.Errorf("outcome %+v", out)
	}
	srv = server(t, standin.Options{Size: 1 << 20}, script(standin.Fault{At: standin.EndOfData, Code: 552, Text: "5.3.4 too large"}))
	if out := deliver(t, courier(t, Options{}), job(to(srv))); !slices.Equal(codes(out), []int{552}) || out.Reach != spool.Reached {
		t.Errorf("outcome %+v", out)
	}
}

// TestMessagesPerConnection: a next hop that has enough after n messages costs
// no attempt, whether it says so beforehand, with 421, or by closing.
func TestMessagesPerConnection(t *testing.T) {
	for _, c := range []struct {
		name  string
		opt   standin.Options
		route relay.Route
		drop  bool
		conns int
		quits int
	}{
		{"421", standin.Options{MaxMessages: 2}, relay.Route{}, false, 3, 0},
		{"closed", standin.Options{}, relay.Route{}, true, 3, 0},
		{"MAILMAX", standin.Options{Extra: []string{"LIMITS MAILMAX=2"}}, relay.Route{}, false, 3, 2},
		{"route", standin.Options{}, relay.Route{MaxMessages: 2}, false, 3, 2},
	} {
		for _, atOnce := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s at once %t", c.name, atOnce), func(t *testing.T) {
				opt := c.opt
				opt.Extra = append(opt.Extra, "LIMITS RCPTMAX=1")
				srv := server(t, opt)
				if c.drop {
					die := script(standin.Fault{At: standin.Mail, Drop: true})
					srv.Next(nil, nil, die, nil, nil, die)
				}
				route := to(srv)
				route.MaxMessages = c.route.MaxMessages
				courier := courier(t, Options{})
				j := job(route, "a@example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com")
				all := j.Recipients
				for n := range all {
					if !atOnce {
						j.Recipients = all[n : n+1]
					} else if n > 0 {
						break
					}
					out := deliver(t, courier, j)
					if out.Reach != spool.Reached || slices.ContainsFunc(codes(out), func(c int) bool { return c != 250 }) {
						t.Fatalf("outcome %+v", out)
					}
				}
				quits := 0
				for _, v := range verbs(srv) {
					if v == "QUIT" {
						quits++
					}
				}
				if len(srv.Messages()) != 5 || srv.Connections() != c.conns || quits != c.quits {
					t.Errorf("%d messages by %d connections, %d QUIT", len(srv.Messages()), srv.Connections(), quits)
				}
			})
		}
	}
}

// TestDomainLimit: RFC 9422's RCPTDOMAINMAX.
func TestDomainLimit(t *testing.T) {
	srv := server(t, standin.Options{Extra: []string{"LIMITS RCPTDOMAINMAX=2"}})
	out := deliver(t, courier(t, Options{}), job(to(srv), "a@one.test", "b@two.test", "c@one.test", "d@three.test", "e@four.test", "f@five.test"))
	var got []int
	for _, m := range srv.Messages() {
		got = append(got, len(m.To))
	}
	if !slices.Equal(got, []int{3, 2, 1}) || slices.ContainsFunc(codes(out), func(c int) bool { return c != 250 }) {
		t.Errorf("recipients %v; %v", got, codes(out))
	}
}

// TestMannersAreBounded: what is remembered of hosts is bounded, and ends.
func TestMannersAreBounded(t *testing.T) {
	var m manners
	now := time.Unix(0, 0)
	for i := range 3 * maxManners {
		m.distrust(fmt.Sprint("host", i), "CHUNKING", now)
	}
	if n := len(m.hosts); n > maxManners {
		t.Errorf("%d hosts", n)
	}
	m.distrust("host", "CHUNKING", now)
	m.distrust("host", "PIPELINING", now)
	offered := func(at time.Time) int {
		ext := map[string]string{"CHUNKING": "", "PIPELINING": "", "SIZE": ""}
		m.mind("host", ext, at)
		return len(ext)
	}
	if n := offered(now.Add(mannersTime - 1)); n != 1 {
		t.Errorf("%d are believed", n)
	}
	if n := offered(now.Add(mannersTime)); n != 3 {
		t.Errorf("%d are believed after their time", n)
	}
}
