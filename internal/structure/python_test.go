package structure

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os/exec"
	"reflect"
	"testing"

	"github.com/emersion/go-imap/v2"

	"restante/internal/corpus"
	"restante/internal/needs"
)

// opinion is what second_opinion.py prints.
type opinion struct {
	Tree    *opinionPart
	Subject string
	Date    *float64
	From    [][3]string
	To      [][3]string
	Cc      [][3]string
}

type opinionPart struct {
	Type   string
	SHA256 string
	Parts  []*opinionPart
}

// TestSecondOpinion holds the structure, the octets of every leaf and the
// envelope of the well-formed messages against Python's email package.
func TestSecondOpinion(t *testing.T) {
	python := needs.Program(t, "python3")
	var messages []corpus.Message
	var in bytes.Buffer
	for _, c := range corpus.Messages() {
		if !c.Has(corpus.Broken | corpus.Large) {
			messages = append(messages, c)
			b := c.Bytes()
			fmt.Fprintf(&in, "%d\n%s", len(b), b)
		}
	}
	cmd := exec.Command(python, "testdata/second_opinion.py")
	cmd.Stdin = &in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	for _, c := range messages {
		var theirs opinion
		if err := dec.Decode(&theirs); err != nil {
			t.Fatal(err)
		}
		t.Run(c.Name, func(t *testing.T) {
			b := c.Bytes()
			m := parse(b, 0, nil)
			if ours := opinionOf(b, m.Root); !reflect.DeepEqual(ours, theirs.Tree) {
				t.Errorf("structure\n%s\nPython's\n%s", dump(ours), dump(theirs.Tree))
			}
			env := m.Envelope()
			if !c.Has(corpus.EightBitHeader) && env.Subject != theirs.Subject {
				t.Errorf("subject %q, Python's %q", env.Subject, theirs.Subject)
			}
			if theirs.Date != nil && float64(env.Date.Unix()) != *theirs.Date {
				t.Errorf("date %v, Python's %v", env.Date, *theirs.Date)
			}
			if c.Has(corpus.EightBitHeader) {
				return // raw octets have no meaning for Python
			}
			compareAddresses(t, "From", env.From, theirs.From)
			compareAddresses(t, "To", env.To, theirs.To)
			compareAddresses(t, "Cc", env.Cc, theirs.Cc)
		})
	}
}

func opinionOf(b []byte, p *Part) *opinionPart {
	o := &opinionPart{Type: p.Type + "/" + p.Subtype}
	parts := p.Children
	if p.Embedded != nil {
		parts = []*Part{p.Embedded}
	}
	for _, c := range parts {
		o.Parts = append(o.Parts, opinionOf(b, c))
	}
	if len(parts) == 0 && p.Type != "message" {
		sum := sha256.Sum256(b[p.BodyStart:p.BodyEnd])
		o.SHA256 = hex.EncodeToString(sum[:])
	}
	return o
}

func dump(o *opinionPart) string {
	b, err := json.MarshalIndent(o, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func compareAddresses(t *testing.T, field string, ours []imap.Address, theirs [][3]string) {
	t.Helper()
	var flat [][3]string
	for _, a := range ours {
		if a.IsGroupStart() || a.IsGroupEnd() {
			continue
		}
		if a.Host == missingHost {
			a.Host = ""
		}
		if i := len(flat); i < len(theirs) && theirs[i][0] == "" {
			a.Name = "" // we take a comment for the name
		}
		flat = append(flat, [3]string{a.Name, a.Mailbox, a.Host})
	}
	if len(flat) != len(theirs) || len(flat) > 0 && !reflect.DeepEqual(flat, theirs) {
		t.Errorf("%s: %q, Python's %q", field, flat, theirs)
	}
}
