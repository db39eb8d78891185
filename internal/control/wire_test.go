package control

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"restante/internal/mail"
)

// TestEnvelopeOfWishes: what the sender asked for is shown, and nothing else.
func TestEnvelopeOfWishes(t *testing.T) {
	noon := time.Date(2024, 2, 3, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		env           mail.Envelope
		with, without []string
	}{
		{mail.Envelope{}, nil, []string{"deliver_by", "or_return", "hold_until", "priority", "require_tls"}},
		{mail.Envelope{By: mail.By{At: noon}}, []string{`"deliver_by":"2024-02-03T12:00:00Z"`}, []string{"or_return", "hold_until"}},
		{mail.Envelope{By: mail.By{At: noon, Return: true}, HoldUntil: noon}, []string{`"or_return":true`, `"hold_until":"2024-02-03T12:00:00Z"`}, nil},
	} {
		text, err := json.Marshal(viewEnvelope(c.env))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range c.with {
			if !strings.Contains(string(text), w) {
				t.Errorf("no %s in %s", w, text)
			}
		}
		for _, w := range c.without {
			if strings.Contains(string(text), w) {
				t.Errorf("%s in %s", w, text)
			}
		}
	}
}
