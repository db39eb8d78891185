package structure

import (
	"net"
	"reflect"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-imap/v2/imapserver"

	"restante/internal/corpus"
)

// shelf is a session that shows messages by their number and can do nothing else.
type shelf struct {
	imapserver.Session
	messages []*Message
}

func (s shelf) Close() error                              { return nil }
func (s shelf) Poll(*imapserver.UpdateWriter, bool) error { return nil }
func (s shelf) Unselect() error                           { return nil }

func (s shelf) Select(string, *imap.SelectOptions) (*imap.SelectData, error) {
	return &imap.SelectData{NumMessages: uint32(len(s.messages)), UIDNext: 1, UIDValidity: 1}, nil
}

func (s shelf) Fetch(w *imapserver.FetchWriter, _ imap.NumSet, _ *imap.FetchOptions) error {
	for i, m := range s.messages {
		r := w.CreateMessage(uint32(i + 1))
		r.WriteEnvelope(m.Envelope())
		r.WriteBodyStructure(m.BodyStructure())
		if err := r.Close(); err != nil {
			return err
		}
	}
	return nil
}

// TestOverTheWire has go-imap's server encode every message of the corpus, and
// some worse ones, and its client read them back.
func TestOverTheWire(t *testing.T) {
	var messages []*Message
	var names []string
	add := func(name string, b []byte) {
		names, messages = append(names, name), append(messages, parse(b, 0, nil))
	}
	for _, c := range corpus.Messages() {
		add(c.Name, c.Bytes())
	}
	add("deep", nested(MaxDepth+10, 100))
	add("all octets", everyOctet())

	server := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return shelf{messages: messages}, &imapserver.GreetingData{PreAuth: true}, nil
		},
		InsecureAuth: true,
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(listener) // ends with an error when closed
	}()
	defer func() {
		server.Close()
		<-served
	}()
	client, err := imapclient.DialInsecure(listener.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	all := imap.SeqSet{}
	all.AddRange(1, 0)
	got, err := client.Fetch(all, &imap.FetchOptions{
		Envelope:      true,
		BodyStructure: &imap.FetchItemBodyStructure{Extended: true},
	}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(messages) {
		t.Fatalf("%d messages of %d", len(got), len(messages))
	}
	for i, m := range messages {
		if g, want := types(got[i].BodyStructure), types(m.BodyStructure()); !reflect.DeepEqual(g, want) {
			t.Errorf("%s: structure %q, want %q", names[i], g, want)
		}
		g, want := got[i].Envelope, m.Envelope()
		if names[i] == "all octets" {
			g.MessageID = want.MessageID // the client takes only what is legal
		}
		if g.Subject != want.Subject || g.MessageID != want.MessageID || !g.Date.Equal(want.Date) || !reflect.DeepEqual(g.To, want.To) {
			t.Errorf("%s: envelope\n%#v\nwant\n%#v", names[i], g, want)
		}
	}
}

func types(bs imap.BodyStructure) (list []string) {
	bs.Walk(func(_ []int, part imap.BodyStructure) bool {
		list = append(list, part.MediaType())
		return true
	})
	return list
}

// everyOctet is a message with every octet in every field that is shown.
func everyOctet() []byte {
	var octets []byte
	for c := range 256 {
		if c != '\n' {
			octets = append(octets, byte(c))
		}
	}
	var b []byte
	for _, name := range []string{
		"Date", "Subject", "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "In-Reply-To", "Message-ID",
		"Content-ID", "Content-Description", "Content-Transfer-Encoding", "Content-MD5", "Content-Location", "Content-Language",
	} {
		b = append(append(append(b, name+": x "...), octets...), "\r\n"...)
	}
	for _, field := range []string{"Content-Type: text/plain; name=", "Content-Disposition: attachment; filename="} {
		b = append(append(append(b, field...), octets...), "\r\n"...)
	}
	return append(b, "\r\nbody"...)
}
