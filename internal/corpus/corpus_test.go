package corpus

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestMessages(t *testing.T) {
	all := Messages()
	if len(all) < 45 {
		t.Errorf("only %d messages", len(all))
	}
	names := make(map[string]bool)
	for _, m := range all {
		if names[m.Name] {
			t.Errorf("%s is there twice", m.Name)
		}
		names[m.Name] = true
		b := m.Bytes()
		if local := strings.HasPrefix(m.Name, "local-"); local != m.Has(LocalOnly) {
			t.Errorf("%s: LocalOnly is %v", m.Name, m.Has(LocalOnly))
		}
		if opened, err := io.ReadAll(m.Open()); err != nil || !bytes.Equal(opened, b) {
			t.Errorf("%s: Open and Bytes differ (%v)", m.Name, err)
		}
		if (len(b) > 1<<20) != m.Has(Large) {
			t.Errorf("%s has %d octets, Large is %v", m.Name, len(b), m.Has(Large))
		}
		if m.Has(EightBitHeader) && !m.Has(EightBit) {
			t.Errorf("%s: tags %b", m.Name, m.Tags)
		}
	}
	for _, n := range broken() {
		if !names[n] {
			t.Errorf("%s is called broken, but is not there", n)
		}
	}
}

func TestEveryTagOccurs(t *testing.T) {
	for tag := LocalOnly; tag <= Broken; tag <<= 1 {
		if !slices.ContainsFunc(Messages(), func(m Message) bool { return m.Has(tag) }) {
			t.Errorf("no message has tag %b", tag)
		}
	}
	if slices.ContainsFunc(Sendable(), func(m Message) bool { return m.Has(LocalOnly) }) {
		t.Error("Sendable has a message that is not")
	}
}

func TestAttachment(t *testing.T) {
	for _, size := range []int{0, 1, 56, 57, 58, 100_000} {
		b := Attachment(size)
		if !bytes.Equal(b, Attachment(size)) {
			t.Errorf("%d: differs each time", size)
		}
		if tags(b) != 0 {
			t.Errorf("%d: tags %b", size, tags(b))
		}
	}
}

func TestGenerate(t *testing.T) {
	for seed := range uint64(200) {
		b := Generate(rand.New(rand.NewPCG(seed, 0)))
		if !bytes.Equal(b, Generate(rand.New(rand.NewPCG(seed, 0)))) {
			t.Fatalf("seed %d: differs each time", seed)
		}
		if got := tags(b) &^ EightBit; got != 0 {
			t.Errorf("seed %d: tags %b", seed, got)
		}
	}
}
