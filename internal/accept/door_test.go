package accept_test

import (
	"errors"
	"strings"
	"testing"

	"restante/internal/accept"
	"restante/internal/mail"
)

// street has addresses that lead elsewhere.
type street struct{ directory }

func (s street) Resolve(to mail.Address, trace func(accept.Step)) (accept.Targets, error) {
	forward := func(domain string) accept.Forward {
		return accept.Forward{To: mail.Address{Local: "x", Domain: domain}}
	}
	switch to.Local {
	case "dead":
		return accept.Targets{Forwards: []accept.Forward{forward("null.example")}}, nil
	case "half":
		return accept.Targets{Forwards: []accept.Forward{forward("null.example"), forward("there.example")}}, nil
	case "both":
		return accept.Targets{Accounts: []string{"alice@here.example"}, Forwards: []accept.Forward{forward("null.example")}}, nil
	}
	return s.directory.Resolve(to, trace)
}

// From outside nothing is taken that could only come back.
func TestHopelessForwardIsRefusedAtTheDoor(t *testing.T) {
	h := newHouse(t, func(o *accept.Options) {
		o.Directory = street{}
		o.Refusal = func(w accept.Way) (mail.Status, bool) {
			return mail.Status{Code: 556, Enhanced: [3]int{5, 1, 10}, Text: w.To.Domain + " takes no mail"}, w.To.Domain == "null.example"
		}
	})
	stranger := mail.MustParseAddress("eve@else.example")
	for _, c := range []struct {
		to     string
		origin accept.Origin
		want   bool
	}{
		{"dead", accept.Origin{From: stranger}, true},
		{"dead", accept.Origin{From: stranger, Trusted: true}, false},
		{"dead", accept.Origin{From: stranger, Account: "alice@here.example"}, false},
		{"half", accept.Origin{From: stranger}, false},
		{"both", accept.Origin{From: stranger}, false},
		{"alice", accept.Origin{From: stranger}, false},
	} {
		err := h.Admit(c.origin, mail.Address{Local: c.to, Domain: "here.example"})
		refused, ok := errors.AsType[*accept.RefusedError](err)
		if ok != c.want || err != nil && !ok {
			t.Errorf("%s from %+v: %v", c.to, c.origin, err)
		}
		if ok && (refused.Status.Code != 556 || strings.Contains(refused.Error(), "null.example")) {
			t.Errorf("the reply is %s", refused)
		}
	}
}

// TestFullMailboxesAreRefusedAtTheDoor: only if nobody has room, and for now.
func TestFullMailboxesAreRefusedAtTheDoor(t *testing.T) {
	full := map[string]int64{}
	h := newHouse(t, func(o *accept.Options) {
		o.Directory = street{}
		o.Full = func(account string, octets int64) bool {
			left, limited := full[account]
			return limited && max(octets, 1) > left
		}
	})
	from := accept.Origin{From: mail.MustParseAddress("eve@else.example"), Size: 100}
	admit := func(to string) error { return h.Admit(from, mail.Address{Local: to, Domain: "here.example"}) }
	if err := admit("alice"); err != nil {
		t.Fatal(err)
	}
	targets, err := street{}.Resolve(mail.MustParseAddress("alice@here.example"), nil)
	if err != nil || len(targets.Accounts) != 1 {
		t.Fatalf("%+v, %v", targets, err)
	}
	full[targets.Accounts[0]] = 100
	if err := admit("alice"); err != nil {
		t.Errorf("what fits is refused: %v", err)
	}
	from.Size = 101
	refused, ok := errors.AsType[*accept.RefusedError](admit("alice"))
	if !ok || refused.Status.Code != 452 || refused.Status.Enhanced != [3]int{4, 2, 2} {
		t.Errorf("got %v", refused)
	}
	if err := admit("both"); err != nil {
		t.Errorf("an address that leads elsewhere too is refused: %v", err)
	}
}
