package relay_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/internal/accept"
	"restante/internal/mail"
	"restante/internal/standin"
	"restante/relay"
	"restante/relay/remote"
	"restante/spool"
	"restante/spool/spooltest"
)

const letter = "From: ann@home.test\r\nSubject: hello\r\n\r\n.a few words\r\nand no end"

type household struct{}

func (household) IsLocal(domain string) bool { return domain == "home.test" }
func (household) Resolve(to mail.Address, _ func(accept.Step)) (accept.Targets, error) {
	return accept.Targets{Accounts: []string{to.Local}}, nil
}

// house is a relay in front of a next hop that misbehaves, over real sockets.
type house struct {
	*testing.T
	*spooltest.Memory
	acceptor *accept.Acceptor
	srv      *standin.Server
}

func newHouse(t *testing.T, opt standin.Options, change ...func(*relay.Route)) *house {
	t.Helper()
	srv, err := standin.NewServer(opt)
	if err != nil {
		t.Fatal(err)
	}
	route := relay.Route{
		Name: "smart", Domains: []string{"*"}, Kind: relay.Smarthost,
		Hosts: []relay.Host{{Name: "127.0.0.1", Port: srv.Port()}},
	}
	for _, f := range change {
		f(&route)
	}
	routes, err := relay.NewRoutes([]relay.Route{route})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{T: t, srv: srv, Memory: spooltest.NewMemory(spooltest.MemoryOptions{})}
	h.acceptor = accept.New(accept.Options{Intake: h.Memory, Directory: household{}, Route: routes.Destination})
	courier := remote.New(remote.Options{Hostname: "relay.test"})
	runner := relay.New(relay.Options{
		Queue: h.Memory, Bodies: h.Memory, Reports: h.acceptor, Routes: routes, Courier: courier,
		Schedule: relay.Schedule{Min: 2 * time.Millisecond, Max: 10 * time.Millisecond},
		Hostname: "relay.test",
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- runner.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		courier.Close()
		srv.Close()
	})
	return h
}

func (h *house) send(rcpts ...string) {
	h.Helper()
	var list []mail.Recipient
	for _, r := range rcpts {
		list = append(list, mail.Recipient{To: mail.MustParseAddress(r)})
	}
	m, err := h.acceptor.Begin(mail.Envelope{From: mail.MustParseAddress("ann@home.test")}, list)
	if err != nil {
		h.Fatal(err)
	}
	if _, err := io.WriteString(m, letter); err != nil {
		h.Fatal(err)
	}
	if _, err := m.Commit(context.Background()); err != nil {
		h.Fatal(err)
	}
}

// empty waits until the queue is.
func (h *house) empty() {
	h.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		n := 0
		for _, err := range h.Tasks(spool.TaskID{}) {
			if err != nil {
				h.Fatal(err)
			}
			n++
		}
		if n == 0 {
			return
		}
		if time.Now().After(end) {
			h.Fatalf("%d tasks left", n)
		}
	}
}

// reports are the messages in ann's INBOX.
func (h *house) reports() (list []string) {
	h.Helper()
	box, err := h.Mailbox("ann", spool.Inbox)
	if err != nil {
		return nil
	}
	for e, err := range h.Entries(box.ID, 1, 0) {
		if err != nil {
			h.Fatal(err)
		}
		body, err := h.OpenBody(e.Message)
		if err != nil {
			h.Fatal(err)
		}
		text, err := io.ReadAll(io.NewSectionReader(body, 0, body.Size()))
		if err != nil {
			h.Fatal(err)
		}
		list = append(list, string(text))
	}
	return list
}

func TestThroughTrouble(t *testing.T) {
	h := newHouse(t, standin.Options{})
	h.srv.Next(
		standin.Script{{At: standin.EndOfData, Code: 451, Text: "4.3.0 later"}},
		standin.Script{{At: standin.Body, Drop: true}},
	)
	h.send("b@example.com")
	h.empty()
	got := h.srv.Messages()
	if len(got) != 1 || string(got[0].Data) != letter+"\r\n" || got[0].From != "ann@home.test" {
		t.Errorf("next hop got %+v", got)
	}
	if r := h.reports(); len(r) != 0 {
		t.Errorf("reports %q", r)
	}
}

func TestRefusedRecipientIsReported(t *testing.T) {
	h := newHouse(t, standin.Options{})
	h.srv.Always(standin.Script{{At: standin.Rcpt, To: "bad@example.com", Code: 550, Text: "5.1.1 no bad here"}})
	h.send("good@example.com", "bad@example.com")
	h.empty()
	if got := h.srv.Messages(); len(got) != 1 || !slices.Equal(got[0].To, []string{"good@example.com"}) {
		t.Errorf("next hop got %+v", got)
	}
	r := h.reports()
	if len(r) != 1 || !strings.Contains(r[0], "Final-Recipient: rfc822; bad@example.com") ||
		strings.Contains(r[0], "rfc822; good@example.com") || !strings.Contains(r[0], "550 5.1.1 no bad here") {
		t.Errorf("reports %q", r)
	}
}

// Wherever the connection dies, nobody is lost: each recipient ends delivered
// or reported, and nobody is delivered to twice unless the reply was lost.
func TestConnectionDiesAnywhere(t *testing.T) {
	points := []standin.Point{
		standin.Connect, standin.EHLO, standin.Mail, standin.Rcpt, standin.Data, standin.Body, standin.EndOfData,
	}
	for _, without := range [][]string{nil, {"PIPELINING"}} {
		for _, at := range points {
			t.Run(fmt.Sprintf("%s without %v", at, without), func(t *testing.T) {
				h := newHouse(t, standin.Options{Without: without})
				die := standin.Fault{At: at, Drop: true}
				h.srv.Next(standin.Script{die}, standin.Script{die},
					standin.Script{{At: standin.Rcpt, To: "c@example.com", Code: 550, Text: "5.1.1 no c here"}})
				h.send("a@example.com", "b@example.com", "c@example.com")
				h.empty()
				count := make(map[string]int)
				for _, m := range h.srv.Messages() {
					if string(m.Data) != letter+"\r\n" {
						t.Errorf("damaged: %q", m.Data)
					}
					if m.Answered {
						for _, to := range m.To {
							count[to]++
						}
					}
				}
				reported := 0
				for _, r := range h.reports() {
					reported += strings.Count(r, "Final-Recipient: rfc822; c@example.com")
				}
				if count["a@example.com"] != 1 || count["b@example.com"] != 1 || count["c@example.com"]+reported != 1 {
					t.Errorf("delivered %v, reported %d", count, reported)
				}
			})
		}
	}
}

func TestDeadNextHopComesBack(t *testing.T) {
	const n = 100
	h := newHouse(t, standin.Options{})
	h.srv.Always(standin.Script{{At: standin.Connect, Code: 421, Text: "4.3.2 not now"}})
	for range n {
		h.send("b@example.com")
	}
	for end := time.Now().Add(time.Minute); h.srv.Connections() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the next hop is not asked")
		}
	}
	h.srv.Always(nil)
	h.empty()
	if got := len(h.srv.Messages()); got != n {
		t.Errorf("%d messages", got)
	}
	if most := h.srv.MostConnections(); most > 10 {
		t.Errorf("%d connections at a time", most)
	}
}
