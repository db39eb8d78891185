package control

import (
	"strings"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

func (h *house) trace(t *testing.T, q Trace) (list []Story) {
	t.Helper()
	for s, err := range h.client.Trace(t.Context(), q) {
		if err != nil {
			t.Fatalf("trace %+v: %v", q, err)
		}
		list = append(list, s)
	}
	return list
}

func TestTrace(t *testing.T) {
	h := newHouse(t)
	far := h.submit(t, Submission{From: "alice@here.example", Recipients: []string{"bob@there.example"}}, "Subject: 1\r\nMessage-ID: <one@here.example>\r\n\r\nx\r\n")
	near := h.submit(t, Submission{From: "alice@here.example", Recipients: []string{"root@here.example"}}, "Subject: 2\r\n\r\nx\r\n")
	if _, err := h.client.Do(t.Context(), VerbHold, Selection{IDs: []string{far.String()}}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := h.client.Do(t.Context(), VerbRemove, Selection{IDs: []string{far.String()}}, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		q    Trace
		want string
	}{
		{Trace{}, near.String() + " " + far.String()},
		{Trace{Limit: 1}, near.String()},
		{Trace{About: far.String()}, far.String()},
		{Trace{About: strings.ToLower(far.String()) + ".0"}, far.String()},
		{Trace{About: "<one@here.example>"}, far.String()},
		{Trace{About: "bob@there.example"}, far.String()},
		{Trace{About: "alice@here.example", States: []spool.StoryState{spool.StateDeposited}}, near.String()},
		{Trace{Sender: "alice@here.example", Recipient: "bob@there.example"}, far.String()},
		{Trace{Sender: "<>"}, ""},
		{Trace{States: []spool.StoryState{spool.StateRemoved, "queued"}}, far.String()},
		{Trace{Since: time.Now().Add(time.Hour)}, ""},
		{Trace{Until: time.Now().Add(-time.Hour)}, ""},
	} {
		var got []string
		for _, s := range h.trace(t, c.q) {
			got = append(got, s.ID.String())
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %v, want %s", c.q, got, c.want)
		}
	}

	s := h.trace(t, Trace{About: far.String()})[0]
	var kinds []string
	for _, e := range s.Events {
		kinds = append(kinds, string(e.Kind))
	}
	if got := strings.Join(kinds, " "); got != "accepted queued held removed" {
		t.Errorf("the story is %s", got)
	}
	me := peerName(t)
	first, last := s.Events[0], s.Events[3]
	if first.By != me || first.Text != "local; handed over on this machine" || last.By != me || last.Task != s.Events[1].Task || last.To[0].Local != "bob" {
		t.Errorf("by %q: first %+v, last %+v", me, first, last)
	}
	if r := s.Recipients[0]; r.State != spool.StateRemoved || s.Open || !s.Ended.Equal(r.At) || s.MessageID != "one@here.example" {
		t.Errorf("the story at its end: %+v", s)
	}
	if r := h.trace(t, Trace{About: near.String()})[0].Recipients[0]; r.To.Local != "root" || r.State != spool.StateDeposited {
		t.Errorf("the deposit: %+v", r)
	}
}

// peerName is what the server calls the user who runs this test.
func peerName(t *testing.T) string {
	t.Helper()
	h := newHouse(t)
	id := h.submit(t, Submission{From: "alice@here.example", Recipients: []string{"alice@here.example"}}, "Subject: x\r\n\r\nx\r\n")
	s, err := h.spool.Story(id)
	if err != nil || s.Events[0].By == "" {
		t.Fatalf("who handed over is not told: %+v, %v", s, err)
	}
	return s.Events[0].By
}

func TestTraceRefused(t *testing.T) {
	h := newHouse(t)
	var unknown mail.ID
	unknown[0] = 1
	for _, c := range []struct {
		q    Trace
		code Code
	}{
		{Trace{About: unknown.String()}, CodeNotFound},
		{Trace{About: "nonsense"}, CodeBadRequest},
		{Trace{States: []spool.StoryState{"gone"}}, CodeBadRequest},
		{Trace{Sender: "no address"}, CodeBadRequest},
	} {
		for _, err := range h.client.Trace(t.Context(), c.q) {
			wantCode(t, err, c.code)
		}
	}
	for _, query := range []string{"?sinse=x", "?since=yesterday", "?limit=many", "?about=a&about=b"} {
		resp, err := h.client.send(t.Context(), "GET", "/v1/trace"+query, nil, nil, nil)
		if err == nil {
			resp.Body.Close()
		}
		wantCode(t, err, CodeBadRequest)
	}
	h.spool.Fail(spool.ErrReadOnly, "stories")
	for _, err := range h.client.Trace(t.Context(), Trace{}) {
		wantCode(t, err, CodeUnavailable)
	}
}

func TestParseMoment(t *testing.T) {
	zone := time.FixedZone("", 3600)
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, zone)
	for text, want := range map[string]time.Time{
		"2h": now.Add(-2 * time.Hour), "1w": now.AddDate(0, 0, -7), "2026-11-29": time.Date(2026, 11, 29, 0, 0, 0, 0, zone),
		"2026-11-29 08:30":     time.Date(2026, 11, 29, 8, 30, 0, 0, zone),
		" 2026-11-29T08:30:05": time.Date(2026, 11, 29, 8, 30, 5, 0, zone),
		"2026-11-29T08:30:05Z": time.Date(2026, 11, 29, 8, 30, 5, 0, time.UTC),
	} {
		if got, err := ParseMoment(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "yesterday", "-2h", "2026-13-01"} {
		if got, err := ParseMoment(text, now); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}
