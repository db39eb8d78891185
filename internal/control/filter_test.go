package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// sample is a task that has something for each filter.
func sample() spool.TaskInfo {
	return spool.TaskInfo{
		State:       spool.Held,
		Destination: spool.Destination{Route: "Smart"},
		Envelope: mail.Envelope{
			From: mail.MustParseAddress("bob@far.example"), Priority: 4,
			Client: mail.Client{Addr: netip.MustParseAddr("::ffff:192.0.2.7"), Helo: "printer", Account: "bob@here.example"},
		},
		Size: 3 << 20, Attempts: 3, Queued: noon.Add(-2 * time.Hour),
		Recipients: []spool.RecipientState{
			{Recipient: mail.Recipient{To: mail.MustParseAddress("x@a.example")}},
			{Recipient: mail.Recipient{To: mail.MustParseAddress("y@b.example")}, Last: mail.Status{Code: 451, Enhanced: [3]int{4, 7, 1}, Text: "Greylisted", Remote: "mx.b.example"}},
		},
	}
}

func TestFilterLetsThrough(t *testing.T) {
	mx := sample()
	mx.Destination = spool.Destination{Route: "mx", Domain: "b.example"}
	report := sample()
	report.Envelope.From = mail.Address{}
	for _, c := range []struct {
		f    Filter
		task spool.TaskInfo
		want bool
	}{
		{Filter{}, sample(), true},
		{Filter{States: []spool.State{spool.Dead, spool.Held}}, sample(), true},
		{Filter{States: []spool.State{spool.Queued}}, sample(), false},
		{Filter{Destination: "smart"}, sample(), true},
		{Filter{Destination: "MX/B.example"}, mx, true},
		{Filter{Destination: "b.example"}, mx, true},
		{Filter{Destination: "b.example"}, sample(), false},
		{Filter{Route: "mx"}, mx, true},
		{Filter{Route: "b.example"}, mx, false},
		{Filter{Domain: "b.example"}, mx, true},
		{Filter{Domain: "a.example"}, mx, false},
		{Filter{Domain: "a.example"}, sample(), true},
		{Filter{Domain: "far.example"}, sample(), false},
		{Filter{Sender: "BOB@far.example"}, sample(), true},
		{Filter{Sender: "bob@FAR.example"}, sample(), true},
		{Filter{Sender: "<>"}, sample(), false},
		{Filter{Sender: "<>"}, report, true},
		{Filter{Recipient: "@b.example"}, sample(), true},
		{Filter{Recipient: "x@b.example"}, sample(), false},
		{Filter{Older: "2h"}, sample(), true},
		{Filter{Older: "2h1s"}, sample(), false},
		{Filter{Newer: "2h"}, sample(), true},
		{Filter{Newer: "1h59m"}, sample(), false},
		{Filter{Newer: "1w1d"}, sample(), true},
		{Filter{Attempts: "3"}, sample(), true},
		{Filter{Attempts: "4.."}, sample(), false},
		{Filter{Attempts: "..2"}, sample(), false},
		{Filter{Attempts: "0..3"}, sample(), true},
		{Filter{Size: "3M"}, sample(), true},
		{Filter{Size: "3145729.."}, sample(), false},
		{Filter{Size: "1k..1G"}, sample(), true},
		{Filter{Priority: "-9..-1"}, sample(), false},
		{Filter{Priority: "1.."}, sample(), true},
		{Filter{Status: "451"}, sample(), true},
		{Filter{Status: "4.7.1 grey"}, sample(), true},
		{Filter{Status: "MX.B"}, sample(), true},
		{Filter{Status: "550"}, sample(), false},
		{Filter{Account: "Bob@here.example"}, sample(), true},
		{Filter{Account: "bob"}, sample(), false},
		{Filter{Client: "192.0.2.7"}, sample(), true},
		{Filter{Client: "192.0.2.0/24"}, sample(), true},
		{Filter{Client: "192.0.3.0/24"}, sample(), false},
		{Filter{Client: "Printer"}, sample(), true},
		{Filter{Client: "scanner"}, sample(), false},
		{Filter{Status: "451", Sender: "far.example", Older: "1h"}, sample(), true},
		{Filter{Status: "451", Sender: "far.example", Older: "3h"}, sample(), false},
	} {
		m, err := c.f.compile(noon)
		if err != nil {
			t.Errorf("%+v: %v", c.f, err)
			continue
		}
		if m.match(&c.task, nil) != c.want {
			t.Errorf("%+v lets %+v through: %v", c.f, c.task.Destination, !c.want)
		}
	}
	// What is said of the destination is said of its tasks.
	m, _ := Filter{Status: "refused"}.compile(noon)
	task := sample()
	if m.match(&task, nil) || !m.match(&task, &Backoff{Last: &Status{Text: "connection refused"}}) {
		t.Error("the status of the destination is not looked at")
	}
}

func TestFiltersThatMakeNoSense(t *testing.T) {
	for _, f := range []Filter{
		{Domain: "a b"}, {Sender: "a b"}, {Recipient: "@"}, {Older: "long"}, {Older: "-2h"}, {Newer: "3x"}, {Older: "d"}, {Older: "2h3d"},
		{Attempts: "many"}, {Attempts: ".."}, {Attempts: "5..3"}, {Size: "10T"}, {Size: "k"}, {Size: "9999999999G"}, {Priority: "1..x"},
		{Client: "192.0.2.0/99"}, {Client: "a/b"},
	} {
		err := f.Check()
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeBadRequest {
			t.Errorf("%+v: %v", f, err)
		}
	}
}

// Every field of a filter is a parameter of the same name as in JSON, and is
// read as it was written.
func TestFilterParameters(t *testing.T) {
	f := Filter{States: []spool.State{spool.Held, spool.Dead}}
	v := reflect.ValueOf(&f).Elem()
	for i := range v.NumField() {
		if field := v.Field(i); field.Kind() == reflect.String {
			field.SetString(fmt.Sprint("value ", i))
		}
	}
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal(b, &keys); err != nil {
		t.Fatal(err)
	}
	q := f.query()
	for name := range keys {
		if name != "states" && !q.Has(name) {
			t.Errorf("%s is no parameter", name)
		}
	}
	if len(q) != len(keys) {
		t.Errorf("parameters %v, keys of JSON %v", q, keys)
	}
	got, err := filterFromQuery(q)
	if err != nil || !reflect.DeepEqual(got, f) {
		t.Errorf("read as %+v, %v; want %+v", got, err, f)
	}
	for _, q := range []url.Values{{"sate": {"held"}}, {"state": {"hold"}}, {"sender": {"a", "b"}}} {
		if _, err := filterFromQuery(q); err == nil {
			t.Errorf("%v is taken", q)
		}
	}
}

func TestFilterByMessageID(t *testing.T) {
	h := newHouse(t)
	want := h.submit(t, Submission{Recipients: []string{"x@a.example", "y@b.example"}}, "Message-ID: <one@here>\n\nhi")
	h.submit(t, Submission{Recipients: []string{"x@a.example"}}, "Message-ID: <two@here>\n\nhi")
	for _, text := range []string{"one@here", "<one@here>"} {
		got := h.queue(t, Filter{MessageID: text})
		if len(got) != 2 || got[0].Message != want || got[1].Message != want {
			t.Errorf("%s: %+v", text, got)
		}
	}
	if got := h.queue(t, Filter{MessageID: "one@here", Destination: "b.example"}); len(got) != 1 {
		t.Errorf("with a destination: %d tasks", len(got))
	}
	if got := h.queue(t, Filter{MessageID: strings.ToUpper("one@here")}); len(got) != 0 {
		t.Errorf("in another case: %d tasks", len(got))
	}
}
