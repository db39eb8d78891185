package relay

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"restante/internal/accept"
	"restante/internal/mail"
	"restante/internal/rewrite"
	"restante/internal/screen"
)

// counter is a signer whose signature tells what it was given.
type counter struct{ text strings.Builder }

func (c *counter) Begin(m *screen.Message) accept.SignJob {
	if !strings.Contains(string(m.Header), "isp.test") {
		return nil
	}
	return c
}

func (c *counter) Write(p []byte) (int, error) { return c.text.Write(p) }

func (c *counter) Sign(_ context.Context, header []byte) ([]byte, error) {
	if strings.Contains(string(header), "\r\n\r\n") || !strings.HasSuffix(string(header), "\r\n") {
		return nil, io.ErrUnexpectedEOF
	}
	return []byte("X-Signed: " + strings.TrimSpace(c.text.String()) + "\r\n"), nil
}

// A route's rewriting is for the tasks of that route alone: others get the
// message as it is, and so do reports.
func TestRouteRewrites(t *testing.T) {
	signer := new(counter)
	change := func(o *Options) { o.Signers = []accept.Signer{signer} }
	run(t, times{}, change, func(w *world) {
		err := w.routes.Replace([]Route{{
			Name: "isp", Domains: []string{"one.test"}, Kind: Smarthost, Hosts: []Host{{Name: "smart.test"}},
			Rewrite: rewrite.Outgoing{Sender: mail.MustParseAddress("relay@isp.test"), From: mail.MustParseAddress("no-reply@isp.test")},
		}})
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		sent := make(map[string]string)
		w.courier.set(func(_ context.Context, job Job) Outcome {
			text, err := io.ReadAll(io.NewSectionReader(job.Body, 0, job.Body.Size()))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			sent[job.Route.Name] = job.Envelope.From.String() + "\n" + string(text)
			mu.Unlock()
			if job.Route.Name == "isp" {
				return all(job, unknown)
			}
			return all(job, accepted)
		})
		w.send("ann@home.test", rcpt("b@one.test"), rcpt("c@two.test"))
		synctest.Wait()
		w.wantTasks(0)
		const rest = "Subject: hello\r\nMessage-ID: <1@home.test>\r\n\r\na few words\r\n"
		for route, want := range map[string]string{
			DefaultRoute: "ann@home.test\n" + letter,
			"isp":        "relay@isp.test\nX-Signed: a few words\r\nReply-To: ann@home.test\r\nFrom: no-reply@isp.test\r\n" + rest,
		} {
			if sent[route] != want {
				t.Errorf("by %s was sent\n%q\nwant\n%q", route, sent[route], want)
			}
		}
		w.wantReports("ann", 1, "b@one.test", "From: ann@home.test")

		w.send("", rcpt("b@one.test"))
		synctest.Wait()
		if !strings.HasPrefix(sent["isp"], "\n") {
			t.Errorf("the null sender became %q", sent["isp"])
		}
	})
}

// What cannot be rewritten is not sent as it is.
func TestRewriteFails(t *testing.T) {
	change := func(o *Options) { o.Signers = []accept.Signer{broken{}} }
	run(t, times{}, change, func(w *world) {
		err := w.routes.Replace([]Route{{
			Name: "isp", Domains: []string{"*"}, Rewrite: rewrite.Outgoing{From: mail.MustParseAddress("no-reply@isp.test")},
		}})
		if err != nil {
			t.Fatal(err)
		}
		w.send("ann@home.test", rcpt("b@one.test"))
		synctest.Wait()
		if tasks := w.wantTasks(1); tasks[0].Recipients[0].Last.Class() != mail.Transient || w.courier.attempts() != 0 {
			t.Errorf("%d attempts, %+v", w.courier.attempts(), tasks[0].Recipients)
		}
	})
}

type broken struct{}

func (broken) Begin(*screen.Message) accept.SignJob               { return broken{} }
func (broken) Write(p []byte) (int, error)                        { return len(p), nil }
func (broken) Sign(context.Context, []byte) (s []byte, err error) { return nil, io.ErrUnexpectedEOF }
