package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/internal/standin"
	"restante/relay"
	"restante/spool"
)

func TestDeliver(t *testing.T) {
	for _, without := range [][]string{nil, {"PIPELINING"}} {
		srv := server(t, standin.Options{Without: without})
		j := job(to(srv), "b@example.com", `"odd > one"@example.com`)
		j.Envelope.EightBit = true
		j.Envelope.EnvID = "QQ 314"
		j.Envelope.Ret = mail.ReturnFull
		j.Recipients[0].Notify = mail.NotifySuccess | mail.NotifyFailure
		j.Recipients[0].Original = "rfc822;b+c@example.com"
		out := deliver(t, courier(t, Options{}), j)
		if out.Reach != spool.Reached || !slices.Equal(codes(out), []int{250, 250}) || !out.Promised {
			t.Fatalf("outcome %+v", out)
		}
		got := srv.Messages()
		if len(got) != 1 || string(got[0].Data) != letter {
			t.Fatalf("messages %+v", got)
		}
		m := got[0]
		if m.From != "sender@example.org" || !slices.Equal(m.To, []string{"b@example.com", `"odd > one"@example.com`}) || m.Helo != "relay.test" {
			t.Errorf("envelope %+v", m)
		}
		want := fmt.Sprintf("SIZE=%d BODY=8BITMIME RET=FULL ENVID=QQ+20314", len(letter))
		if m.MailParams != want {
			t.Errorf("MAIL parameters %q, want %q", m.MailParams, want)
		}
		if want := "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b+2Bc@example.com"; m.RcptParams[0] != want {
			t.Errorf("RCPT parameters %q, want %q", m.RcptParams[0], want)
		}
	}
}

// What the next hop answers, and what follows from it.
func TestReplies(t *testing.T) {
	const a, b = "a@example.com", "b@example.com"
	tests := []struct {
		name   string
		faults []standin.Fault
		codes  []int
		reach  spool.Outcome
		begun  bool
		stored int
	}{
		{"refused greeting", script(standin.Fault{At: standin.Connect, Code: 554, Text: "5.7.1 not you"}), []int{451, 451}, spool.Unreached, false, 0},
		{"421 greeting", script(standin.Fault{At: standin.Connect, Code: 421, Text: "4.3.2 busy"}), []int{421, 421}, spool.Unreached, false, 0},
		{"dropped greeting", script(standin.Fault{At: standin.Connect, Drop: true}), []int{451, 451}, spool.Unreached, false, 0},
		{"nonsense greeting", script(standin.Fault{At: standin.Connect, Raw: "HTTP/1.1 400 Bad Request\r\n"}), []int{451, 451}, spool.Unreached, false, 0},
		{"refused EHLO", script(standin.Fault{At: standin.EHLO, Code: 550, Text: "5.7.1 no"}), []int{451, 451}, spool.Unreached, false, 0},
		{"endless EHLO", script(standin.Fault{At: standin.EHLO, Flood: true}), []int{451, 451}, spool.Unreached, false, 0},
		{"dropped EHLO", script(standin.Fault{At: standin.EHLO, Drop: true}), []int{451, 451}, spool.Unreached, false, 0},
		{"MAIL 4xx", script(standin.Fault{At: standin.Mail, Code: 451, Text: "4.7.1 later"}), []int{451, 451}, spool.Reached, false, 0},
		{"MAIL 5xx", script(standin.Fault{At: standin.Mail, Code: 550, Text: "5.7.1 never"}), []int{550, 550}, spool.Reached, false, 0},
		{"MAIL 421", script(standin.Fault{At: standin.Mail, Code: 421, Text: "4.3.2 going"}), []int{421, 421}, spool.Unreached, true, 0},
		{"MAIL dropped", script(standin.Fault{At: standin.Mail, Drop: true}), []int{451, 451}, spool.Unreached, true, 0},
		{"one RCPT 5xx", script(standin.Fault{At: standin.Rcpt, To: a, Code: 550, Text: "5.1.1 who?"}), []int{550, 250}, spool.Reached, false, 1},
		{"one RCPT 4xx", script(standin.Fault{At: standin.Rcpt, To: a, Code: 450, Text: "4.2.0 greylisted"}), []int{450, 250}, spool.Reached, false, 1},
		{"all RCPT 5xx", script(standin.Fault{At: standin.Rcpt, Code: 550, Text: "5.1.1 who?"}), []int{550, 550}, spool.Reached, false, 0},
		{"RCPT 5xx, then dropped", script(standin.Fault{At: standin.Rcpt, To: a, Code: 550, Text: "5.1.1 who?"}, standin.Fault{At: standin.Rcpt, To: b, Drop: true}), []int{550, 451}, spool.Unreached, true, 0},
		{"odd RCPT", script(standin.Fault{At: standin.Rcpt, To: a, Code: 354, Text: "what"}), []int{451, 250}, spool.Reached, false, 1},
		{"DATA 4xx", script(standin.Fault{At: standin.Data, Code: 451, Text: "4.3.0 later"}), []int{451, 451}, spool.Reached, false, 0},
		{"DATA 5xx", script(standin.Fault{At: standin.Data, Code: 554, Text: "5.6.0 no"}), []int{554, 554}, spool.Reached, false, 0},
		{"DATA 421", script(standin.Fault{At: standin.Data, Code: 421, Text: "4.3.2 going"}), []int{421, 421}, spool.Unreached, true, 0},
		{"DATA dropped", script(standin.Fault{At: standin.Data, Drop: true}), []int{451, 451}, spool.Unreached, true, 0},
		{"body dropped", script(standin.Fault{At: standin.Body, Drop: true}), []int{451, 451}, spool.Unreached, true, 0},
		{"end 4xx", script(standin.Fault{At: standin.EndOfData, Code: 451, Text: "4.3.0 later"}), []int{451, 451}, spool.Reached, false, 0},
		{"end 5xx", script(standin.Fault{At: standin.EndOfData, Code: 554, Text: "5.7.1 spam"}), []int{554, 554}, spool.Reached, false, 0},
		{"end 421", script(standin.Fault{At: standin.EndOfData, Code: 421, Text: "4.3.2 going"}), []int{421, 421}, spool.Reached, false, 0},
		{"end dropped", script(standin.Fault{At: standin.EndOfData, Drop: true}), []int{451, 451}, spool.Unreached, true, 1},
	}
	for _, without := range [][]string{nil, {"PIPELINING"}} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s without %v", tt.name, without), func(t *testing.T) {
				srv := server(t, standin.Options{Without: without}, tt.faults)
				// One refused EHLO is followed by a HELO with the same script.
				out := deliver(t, courier(t, Options{}), job(to(srv), a, b))
				if !slices.Equal(codes(out), tt.codes) || out.Reach != tt.reach || out.Begun != (tt.begun && tt.reach == spool.Unreached) {
					t.Errorf("codes %v, reach %v, begun %v; %v", codes(out), out.Reach, out.Begun, out.Results)
				}
				if n := len(srv.Messages()); n != tt.stored {
					t.Errorf("%d messages stored, want %d", n, tt.stored)
				}
			})
		}
	}
}

func TestConnectionRefused(t *testing.T) {
	srv := server(t, standin.Options{})
	route := to(srv)
	srv.Close()
	out := deliver(t, courier(t, Options{}), job(route))
	if out.Reach != spool.Unreached || out.Begun || out.Fault.Enhanced != [3]int{4, 4, 1} {
		t.Errorf("outcome %+v", out)
	}
	contains(t, "fault", out.Fault.Text, "refused")
}

// A next hop that says nothing costs no more than the deadline.
func TestSilence(t *testing.T) {
	wait := make(chan struct{})
	defer close(wait)
	for _, at := range []standin.Point{standin.Connect, standin.EHLO, standin.Mail, standin.Data, standin.EndOfData} {
		srv := server(t, standin.Options{}, script(standin.Fault{At: at, Wait: wait}))
		c := courier(t, Options{Timeouts: Timeouts{Command: 30 * time.Millisecond, End: 30 * time.Millisecond}})
		out := deliver(t, c, job(to(srv)))
		if out.Reach != spool.Unreached || out.Results[0].Class() != mail.Transient {
			t.Errorf("%s: outcome %+v", at, out)
		}
		contains(t, string(at), out.Fault.Text, "timed out")
	}
}

// The end of the context breaks off whatever is in progress.
func TestContextEnds(t *testing.T) {
	wait := make(chan struct{})
	defer close(wait)
	srv := server(t, standin.Options{}, script(standin.Fault{At: standin.Data, Wait: wait}))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	out := courier(t, Options{}).Deliver(ctx, job(to(srv)))
	if out.Results[0].Class() != mail.Transient || len(srv.Messages()) != 0 {
		t.Errorf("outcome %+v", out)
	}
}

// A message that cannot be read to its end must not be accepted.
func TestTruncatedBody(t *testing.T) {
	srv := server(t, standin.Options{})
	j := job(to(srv))
	j.Body = brokenBody{size: 300 << 10, good: 200 << 10}
	out := deliver(t, courier(t, Options{}), j)
	if out.Reach != spool.Unknown || out.Results[0].Class() != mail.Transient || out.Results[0].Enhanced != [3]int{4, 3, 0} {
		t.Errorf("outcome %+v", out)
	}
	srv.Close()
	if n := len(srv.Messages()); n != 0 {
		t.Fatalf("%d messages accepted", n)
	}
	if slices.Contains(srv.Commands(), "QUIT") {
		t.Error("QUIT was sent inside a body")
	}
}

type brokenBody struct{ size, good int64 }

func (b brokenBody) Size() int64  { return b.size }
func (b brokenBody) Close() error { return nil }
func (b brokenBody) ReadAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > b.good {
		return 0, fmt.Errorf("block: %w", spool.ErrCorrupt)
	}
	copy(p, strings.Repeat("x", len(p)))
	return len(p), nil
}

// A refusal in the middle of a large body is heard.
func TestEarlyRefusal(t *testing.T) {
	srv := server(t, standin.Options{}, script(standin.Fault{At: standin.Body, Code: 552, Text: "5.3.4 too big"}))
	j := job(to(srv))
	j.Body = body(strings.Repeat(strings.Repeat("x", 70)+"\r\n", 1<<17))
	out := deliver(t, courier(t, Options{}), j)
	// The refusal may be lost with the connection, but nothing else may come of it.
	if c := out.Results[0].Code; c != 552 && out.Results[0].Class() != mail.Transient || len(srv.Messages()) != 0 {
		t.Errorf("outcome %+v", out)
	}
}

func TestExtensionsMissing(t *testing.T) {
	utf8 := func(j *relay.Job) { j.Envelope.UTF8, j.Body = true, body("Subject: ünïcode\r\n\r\nx\r\n") }
	tests := []struct {
		name   string
		opt    standin.Options
		change func(*relay.Job)
		codes  []int
		params string
	}{
		{"too large", standin.Options{Size: 10}, nil, []int{552, 552}, ""},
		{"size fits", standin.Options{Size: 1000}, nil, []int{250, 250}, "SIZE="},
		{"no SMTPUTF8 needed", standin.Options{Without: []string{"SMTPUTF8"}}, func(j *relay.Job) { j.Envelope.UTF8 = true }, []int{250, 250}, ""},
		{"UTF-8 header", standin.Options{Without: []string{"SMTPUTF8"}}, utf8, []int{553, 553}, ""},
		{"UTF-8 header goes", standin.Options{}, utf8, []int{250, 250}, "SMTPUTF8"},
		{"UTF-8 recipient", standin.Options{Without: []string{"SMTPUTF8"}}, func(j *relay.Job) { j.Recipients[0].To.Local = "bü" }, []int{553, 250}, ""},
		{"UTF-8 recipient goes", standin.Options{}, func(j *relay.Job) { j.Recipients[0].To.Local = "bü" }, []int{250, 250}, "SMTPUTF8"},
		{"UTF-8 sender", standin.Options{Without: []string{"SMTPUTF8"}}, func(j *relay.Job) { j.Envelope.From.Local = "ü" }, []int{553, 553}, ""},
		{"8-bit that is none", standin.Options{Without: []string{"8BITMIME", "SMTPUTF8"}}, func(j *relay.Job) { j.Envelope.EightBit = true }, []int{250, 250}, ""},
		{"8-bit that is signed", standin.Options{Without: []string{"8BITMIME", "SMTPUTF8"}}, func(j *relay.Job) {
			j.Envelope.EightBit = true
			j.Body = body("MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nü\r\n--b--\r\n")
		}, []int{554, 554}, ""},
		{"REQUIRETLS", standin.Options{Extra: []string{"REQUIRETLS"}}, func(j *relay.Job) { j.Envelope.RequireTLS = true }, []int{550, 550}, ""},
		{"command injection", standin.Options{}, func(j *relay.Job) { j.Recipients[0].To.Local = "a\r\nQUIT" }, []int{553, 250}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := server(t, tt.opt)
			j := job(to(srv), "a@example.com", "b@example.com")
			if tt.change != nil {
				tt.change(&j)
			}
			out := deliver(t, courier(t, Options{}), j)
			if !slices.Equal(codes(out), tt.codes) || out.Reach != spool.Reached {
				t.Fatalf("outcome %+v", out)
			}
			got := srv.Messages()
			if delivered := slices.Contains(tt.codes, 250); delivered != (len(got) == 1) {
				t.Fatalf("%d messages", len(got))
			}
			if len(got) == 1 {
				contains(t, "MAIL parameters", got[0].MailParams, tt.params)
				if tt.params == "" && strings.Contains(got[0].MailParams, "SMTPUTF8") {
					t.Errorf("SMTPUTF8 without need: %q", got[0].MailParams)
				}
			}
		})
	}
}

func TestManyRecipients(t *testing.T) {
	var rcpts []string
	for i := range 250 {
		rcpts = append(rcpts, fmt.Sprintf("r%d@example.com", i))
	}
	srv := server(t, standin.Options{})
	out := deliver(t, courier(t, Options{}), job(to(srv), rcpts...))
	var got []string
	for _, m := range srv.Messages() {
		if len(m.To) > maxRecipients {
			t.Errorf("%d recipients in one transaction", len(m.To))
		}
		got = append(got, m.To...)
	}
	if !slices.Equal(got, rcpts) || srv.Connections() != 1 {
		t.Errorf("%d recipients by %d connections; %v", len(got), srv.Connections(), out.Fault)
	}
}

// 452 for one recipient too many is no refusal: it gets its own transaction.
func TestTooManyRecipients(t *testing.T) {
	srv := server(t, standin.Options{}, script(standin.Fault{At: standin.Rcpt, To: "b@example.com", Code: 452, Text: "4.5.3 too many"}))
	out := deliver(t, courier(t, Options{}), job(to(srv), "a@example.com", "b@example.com"))
	if !slices.Equal(codes(out), []int{250, 250}) || len(srv.Messages()) != 2 {
		t.Errorf("outcome %+v, %d messages", out, len(srv.Messages()))
	}
}

func TestConnectionReuse(t *testing.T) {
	srv := server(t, standin.Options{})
	c := courier(t, Options{})
	j := job(to(srv))
	for range 3 {
		deliver(t, c, j)
	}
	if len(srv.Messages()) != 3 || srv.Connections() != 1 {
		t.Fatalf("%d messages by %d connections", len(srv.Messages()), srv.Connections())
	}
	// Another route is another policy, even to the same host.
	deliver(t, c, job(to(srv)))
	if srv.Connections() != 2 {
		t.Errorf("%d connections", srv.Connections())
	}
	c.Close()
	n := 0
	for _, line := range srv.Commands() {
		if line == "QUIT" {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d QUITs of 2 connections", n)
	}
}

// A connection that has served long enough is ended before the next is made.
func TestWornOutConnection(t *testing.T) {
	srv := server(t, standin.Options{})
	c := courier(t, Options{})
	j := job(to(srv))
	for range maxUses + 5 {
		deliver(t, c, j)
	}
	commands := srv.Commands()
	quit := slices.Index(commands, "QUIT")
	if srv.Connections() != 2 || quit < 0 || !slices.Contains(commands[quit:], "EHLO relay.test") {
		t.Errorf("%d connections, QUIT at %d of %d commands", srv.Connections(), quit, len(commands))
	}
}

// A connection that died while it was kept costs a new one, not a failure.
func TestReusedConnectionIsDead(t *testing.T) {
	first := server(t, standin.Options{})
	c := courier(t, Options{})
	j := job(to(first))
	deliver(t, c, j)
	first.Close()
	second := server(t, standin.Options{})
	j.Route.Hosts[0].Port = second.Port()
	if out := deliver(t, c, j); out.Reach != spool.Reached || len(second.Messages()) != 1 {
		t.Errorf("outcome %+v", out)
	}
}

// If it has died and no new one can be made, the message had no part in it.
func TestReusedConnectionIsDeadAndHostToo(t *testing.T) {
	srv := server(t, standin.Options{})
	c := courier(t, Options{})
	j := job(to(srv))
	deliver(t, c, j)
	srv.Close()
	if out := deliver(t, c, j); out.Reach != spool.Unreached || out.Begun {
		t.Errorf("outcome %+v", out)
	}
}

// A next hop that says 421 to the message is not given another by the same
// connection.
func TestNotReusedAfter421(t *testing.T) {
	srv := server(t, standin.Options{}, script(standin.Fault{At: standin.EndOfData, Raw: "421 4.3.2 going, but slowly\r\n"}))
	c := courier(t, Options{})
	j := job(to(srv))
	if out := deliver(t, c, j); codes(out)[0] != 421 || out.Reach != spool.Reached {
		t.Errorf("outcome %+v", out)
	}
	if out := deliver(t, c, j); codes(out)[0] != 250 || srv.Connections() != 2 {
		t.Errorf("outcome %+v by %d connections", out, srv.Connections())
	}
}

// Hosts are tried in order, and the recipients that one has decided on are not
// brought before the next.
func TestNextHost(t *testing.T) {
	tests := []struct {
		name          string
		first         standin.Script
		codes         []int
		second        []string // recipients that reach the second host
		reach         spool.Outcome
		secondReached int
	}{
		{"greeting", script(standin.Fault{At: standin.Connect, Code: 421, Text: "busy"}), []int{250, 250}, []string{"a@example.com", "b@example.com"}, spool.Reached, 1},
		{"body", script(standin.Fault{At: standin.Body, Drop: true}), []int{250, 250}, []string{"a@example.com", "b@example.com"}, spool.Reached, 1},
		{"one refused, then body", script(standin.Fault{At: standin.Rcpt, To: "a@example.com", Code: 550, Text: "5.1.1 no"}, standin.Fault{At: standin.Body, Drop: true}), []int{550, 250}, []string{"b@example.com"}, spool.Reached, 1},
		{"end of data", script(standin.Fault{At: standin.EndOfData, Drop: true}), []int{451, 451}, nil, spool.Unreached, 0},
		{"refused", script(standin.Fault{At: standin.EndOfData, Code: 554, Text: "5.7.1 no"}), []int{554, 554}, nil, spool.Reached, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			first, second := server(t, standin.Options{}, tt.first), server(t, standin.Options{})
			route := to(first)
			route.Hosts = append(route.Hosts, relay.Host{Name: "127.0.0.1", Port: second.Port()})
			j := job(route, "a@example.com", "b@example.com")
			// Too large for the end of it to be on its way when the connection dies.
			j.Body = body(strings.Repeat(strings.Repeat("x", 70)+"\r\n", 1<<17))
			out := deliver(t, courier(t, Options{}), j)
			if !slices.Equal(codes(out), tt.codes) || out.Reach != tt.reach {
				t.Errorf("outcome %+v", out)
			}
			got := second.Messages()
			if len(got) != tt.secondReached || len(got) > 0 && !slices.Equal(got[0].To, tt.second) {
				t.Errorf("second host got %+v", got)
			}
		})
	}
}

// Direct delivery: MX by the DNS, two exchangers of which the better is dead.
func TestDeliverByMX(t *testing.T) {
	srv := server(t, standin.Options{})
	dns, err := standin.NewDNS(
		"example.com. MX 10 dead.example.com.",
		"example.com. MX 20 mx.example.com.",
		"dead.example.com. A 127.0.0.9",
		"mx.example.com. A 127.0.0.1",
	)
	if err != nil {
		t.Fatal(err)
	}
	defer dns.Close()
	resolver := asking(t, dns)
	c := courier(t, Options{Resolver: resolver})
	j := job(relay.Route{Name: "mx", Port: srv.Port()})
	j.Domain = "example.com"
	out := deliver(t, c, j)
	if out.Reach != spool.Reached || out.Remote != "mx.example.com [127.0.0.1]" || len(srv.Messages()) != 1 {
		t.Errorf("outcome %+v", out)
	}
	j = job(relay.Route{Name: "mx", Port: srv.Port()}, "b@absent.test", "c@absent.test")
	j.Domain = "absent.test"
	if out := deliver(t, c, j); out.Reach != spool.Reached || !slices.Equal(codes(out), []int{550, 550}) {
		t.Errorf("outcome %+v", out)
	}
	j = job(relay.Route{Name: "mx", Port: srv.Port()}, "b@[127.0.0.1]")
	j.Domain = "[127.0.0.1]"
	if out := deliver(t, c, j); codes(out)[0] != 250 || out.Remote != "[127.0.0.1]" {
		t.Errorf("outcome %+v", out)
	}
}

func TestReason(t *testing.T) {
	if got := reason(fmt.Errorf("x: %w", io.EOF)); !strings.Contains(got, "closed") {
		t.Error(got)
	}
	if got := reason(errors.New("a\r\nb")); got != "a b" {
		t.Errorf("%q", got)
	}
}
