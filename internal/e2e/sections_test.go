package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"mime"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"restante/internal/corpus"
	"restante/internal/needs"
)

// generated is how many messages of corpus.Generate go through TestSections.
const generated = 60

// opinion is what testdata/parts.py says of a message.
type opinion struct {
	// Exact tells that Python can write the message as it was.
	Exact        bool
	Header, Text []byte
	Parts        []opinionPart
}

// opinionPart is one part. Header and Text are those of the message in it.
type opinionPart struct {
	Number                            []int
	Type, Encoding, ID                string
	Declared                          bool // there is a Content-Type
	Description, Location             string
	Language                          []string
	Params                            map[string]string
	Disposition                       string
	DispositionParams                 map[string]string
	Subject                           string
	Mime, Body, Header, Text, Decoded []byte
}

// TestSections delivers well-formed messages by SMTP and by APPEND, those of the
// corpus and generated ones, and holds the BODYSTRUCTURE and every section of
// every part against what Python's email package says of the same octets.
func TestSections(t *testing.T) {
	t.Parallel()
	needs.Program(t, "python3")
	var messages [][]byte
	for _, m := range corpus.Sendable() {
		// What has no octets APPEND refuses.
		if !m.Has(corpus.Broken|corpus.Large) && len(m.Bytes()) > 0 {
			messages = append(messages, m.Bytes())
		}
	}
	for seed := range uint64(generated) {
		messages = append(messages, corpus.Generate(rand.New(rand.NewPCG(seed, 1))))
	}
	d := newDaemon(t)
	t.Run("SMTP", func(t *testing.T) {
		s := d.smtp()
		for _, m := range messages {
			if _, err := s.mail(m, alice, bob); err != nil {
				t.Fatal(err)
			}
		}
		d.inbox(bob, len(messages))
		secondOpinion(t, d.imap(bob, password, nil), len(messages))
	})
	t.Run("APPEND", func(t *testing.T) {
		c := d.imap(alice, password, nil)
		for _, m := range messages {
			put := c.Append("INBOX", int64(len(m)), nil)
			put.Write(m)
			put.Close()
			if _, err := put.Wait(); err != nil {
				t.Fatal(err)
			}
		}
		for i, got := range secondOpinion(t, c, len(messages)) {
			if !bytes.Equal(got.body, messages[i]) {
				t.Errorf("message %d is not what was appended", i)
			}
		}
	})
}

// secondOpinion compares what there is of the n messages of the INBOX.
func secondOpinion(t *testing.T, c *imapclient.Client, n int) []stored {
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	list := fetch(t, c)
	if len(list) != n {
		t.Fatalf("%d messages, want %d", len(list), n)
	}
	cmd := exec.Command("python3", "testdata/parts.py")
	var in, stderr bytes.Buffer
	for _, m := range list {
		fmt.Fprintf(&in, "%d\n%s", len(m.body), m.body)
	}
	cmd.Stdin, cmd.Stderr = &in, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	exact := 0
	for _, m := range list {
		var theirs opinion
		if err := dec.Decode(&theirs); err != nil {
			t.Fatal(err)
		}
		if theirs.Exact {
			exact++
		}
		v := &view{t: t, c: c, uid: m.uid, theirs: &theirs}
		v.compare()
	}
	if exact < generated {
		t.Errorf("only %d messages were compared octet by octet", exact)
	}
	return list
}

// view is one message that is compared.
type view struct {
	t      *testing.T
	c      *imapclient.Client
	uid    imap.UID
	theirs *opinion
	// ours are the parts of the BODYSTRUCTURE by their numbers.
	ours map[string]imap.BodyStructure

	wanted []wanted
}

// wanted is a section that shall have some octets.
type wanted struct {
	body   *imap.FetchItemBodySection
	binary *imap.FetchItemBinarySection
	octets []byte
}

func (v *view) errorf(format string, args ...any) {
	v.t.Helper()
	v.t.Errorf("message %d: %s", v.uid, fmt.Sprintf(format, args...))
}

func (v *view) compare() {
	got, err := v.c.Fetch(imap.UIDSetNum(v.uid), &imap.FetchOptions{BodyStructure: &imap.FetchItemBodyStructure{Extended: true}}).Collect()
	if err != nil || len(got) != 1 || got[0].BodyStructure == nil {
		v.t.Fatalf("message %d has no structure: %v", v.uid, err)
	}
	v.ours = make(map[string]imap.BodyStructure)
	v.number(got[0].BodyStructure, nil)
	var theirs []string
	for _, p := range v.theirs.Parts {
		theirs = append(theirs, fmt.Sprint(p.Number))
	}
	if ours := slices.Sorted(maps.Keys(v.ours)); !slices.Equal(ours, slices.Sorted(slices.Values(theirs))) {
		v.errorf("the parts are %v, Python's %v", ours, theirs)
		return
	}
	v.want(nil, imap.PartSpecifierHeader, v.theirs.Header)
	v.want(nil, imap.PartSpecifierText, v.theirs.Text)
	for i := range v.theirs.Parts {
		v.part(&v.theirs.Parts[i])
	}
	for some := range slices.Chunk(v.wanted, 50) {
		v.sections(some)
	}
}

// number gives the parts inside of a message or a multipart their numbers.
func (v *view) number(at imap.BodyStructure, prefix []int) {
	children := []imap.BodyStructure{at}
	if m, ok := at.(*imap.BodyStructureMultiPart); ok {
		children = m.Children
	}
	for i, child := range children {
		n := append(slices.Clone(prefix), i+1)
		v.ours[fmt.Sprint(n)] = child
		switch child := child.(type) {
		case *imap.BodyStructureMultiPart:
			v.number(child, n)
		case *imap.BodyStructureSinglePart:
			if child.MessageRFC822 != nil {
				v.number(child.MessageRFC822.BodyStructure, n)
			}
		}
	}
}

func (v *view) want(part []int, specifier imap.PartSpecifier, octets []byte) {
	if v.theirs.Exact {
		v.wanted = append(v.wanted, wanted{body: &imap.FetchItemBodySection{Part: part, Specifier: specifier, Peek: true}, octets: octets})
	}
}

// part compares what the BODYSTRUCTURE says of one part, and asks for its sections.
func (v *view) part(p *opinionPart) {
	ours := v.ours[fmt.Sprint(p.Number)]
	v.want(p.Number, imap.PartSpecifierMIME, p.Mime)
	v.want(p.Number, imap.PartSpecifierNone, p.Body)
	say := func(what string, ours, theirs any) {
		v.t.Helper()
		if fmt.Sprint(ours) != fmt.Sprint(theirs) {
			v.errorf("part %v: %s is %q, Python's %q", p.Number, what, ours, theirs)
		}
	}
	say("the type", strings.ToLower(ours.MediaType()), p.Type)
	say("the disposition", dispositionOf(ours), disposition{p.Disposition, plain(p.DispositionParams)})
	switch ours := ours.(type) {
	case *imap.BodyStructureMultiPart:
		say("a parameter", plain(ours.Extended.Params), plain(p.Params))
		say("the language", ours.Extended.Language, p.Language)
		say("the location", ours.Extended.Location, p.Location)
	case *imap.BodyStructureSinglePart:
		v.single(ours, p, say)
	}
	if v.theirs.Exact && p.Decoded != nil {
		v.wanted = append(v.wanted, wanted{binary: &imap.FetchItemBinarySection{Part: p.Number, Peek: true}, octets: p.Decoded})
	}
}

func (v *view) single(ours *imap.BodyStructureSinglePart, p *opinionPart, say func(what string, ours, theirs any)) {
	params := plain(p.Params)
	if !p.Declared && ours.Type == "text" {
		params = map[string]string{"charset": "us-ascii"}
	}
	say("a parameter", plain(ours.Params), params)
	say("the encoding", ours.Encoding, p.Encoding)
	say("the ID", ours.ID, p.ID)
	say("the description", ours.Description, p.Description)
	say("the language", ours.Extended.Language, p.Language)
	say("the location", ours.Extended.Location, p.Location)
	if v.theirs.Exact {
		say("the size", ours.Size, len(p.Body))
		lines := bytes.Count(p.Body, []byte("\n"))
		if len(p.Body) > 0 && !bytes.HasSuffix(p.Body, []byte("\n")) {
			lines++
		}
		switch {
		case ours.Text != nil:
			say("the number of lines", ours.Text.NumLines, lines)
		case ours.MessageRFC822 != nil:
			say("the number of lines", ours.MessageRFC822.NumLines, lines)
		}
	}
	if ours.MessageRFC822 != nil {
		v.want(p.Number, imap.PartSpecifierHeader, p.Header)
		v.want(p.Number, imap.PartSpecifierText, p.Text)
	}
}

// sections fetches some sections and compares them, whole and in part.
func (v *view) sections(list []wanted) {
	var o imap.FetchOptions
	for _, w := range list {
		if w.body != nil {
			o.BodySection = append(o.BodySection, w.body)
		} else {
			o.BinarySection = append(o.BinarySection, w.binary)
			o.BinarySectionSize = append(o.BinarySectionSize, &imap.FetchItemBinarySectionSize{Part: w.binary.Part})
		}
	}
	got, err := v.c.Fetch(imap.UIDSetNum(v.uid), &o).Collect()
	if err != nil || len(got) != 1 {
		v.t.Fatalf("message %d: sections: %v", v.uid, err)
	}
	for _, w := range list {
		if w.body != nil {
			if ours := got[0].FindBodySection(w.body); !bytes.Equal(ours, w.octets) {
				v.errorf("BODY[%v %s] is\n%q\nPython's\n%q", w.body.Part, w.body.Specifier, ours, w.octets)
			}
			continue
		}
		if ours := got[0].FindBinarySection(w.binary); !bytes.Equal(ours, w.octets) {
			v.errorf("BINARY[%v] is\n%q\nPython's\n%q", w.binary.Part, ours, w.octets)
		}
		if size, _ := got[0].FindBinarySectionSize(w.binary.Part); int(size) != len(w.octets) {
			v.errorf("BINARY.SIZE[%v] is %d, Python's %d", w.binary.Part, size, len(w.octets))
		}
	}
}

// disposition is a Content-Disposition.
type disposition struct {
	kind   string
	params map[string]string
}

func dispositionOf(b imap.BodyStructure) (d disposition) {
	if got := b.Disposition(); got != nil {
		d = disposition{got.Value, plain(got.Params)}
	}
	return d
}

// plain undoes the character sets of RFC 2231 section 4, which an IMAP server
// leaves to its clients, and encoded words, which some senders put there.
func plain(params map[string]string) map[string]string {
	out := make(map[string]string)
	words := new(mime.WordDecoder)
	for name, value := range params {
		if base, encoded := strings.CutSuffix(name, "*"); encoded {
			charset, rest, _ := strings.Cut(value, "'")
			_, text, _ := strings.Cut(rest, "'")
			if decoded, err := url.PathUnescape(text); err == nil {
				name, value = base, decoded
			}
			if strings.EqualFold(charset, "iso-8859-1") {
				var latin []rune
				for _, c := range []byte(value) {
					latin = append(latin, rune(c))
				}
				value = string(latin)
			}
		}
		if decoded, err := words.DecodeHeader(value); err == nil {
			value = decoded
		}
		out[name] = value
	}
	return out
}
