package e2e

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// stored is a message as IMAP shows it.
type stored struct {
	uid   imap.UID
	flags []imap.Flag
	size  int64
	body  []byte
}

// imap logs in at the IMAPS port for the length of the test.
func (d *daemon) imap(user, password string, handler *imapclient.UnilateralDataHandler) *imapclient.Client {
	d.t.Helper()
	c, err := d.login(user, password, handler)
	if err != nil {
		d.t.Fatalf("IMAP login of %s: %v", user, err)
	}
	d.t.Cleanup(func() { c.Close() })
	return c
}

// login is imap for logins that may fail.
func (d *daemon) login(user, password string, handler *imapclient.UnilateralDataHandler) (*imapclient.Client, error) {
	c, err := imapclient.DialTLS(d.addr("imaps"), &imapclient.Options{
		TLSConfig: d.cert.client, UnilateralDataHandler: handler,
	})
	if err != nil {
		return nil, err
	}
	if err := c.Login(user, password).Wait(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// fetch reads all of INBOX, without changing anything in it.
func (d *daemon) fetch(user string) []stored {
	d.t.Helper()
	c := d.imap(user, password, nil)
	defer c.Close()
	data, err := c.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		d.t.Fatalf("EXAMINE: %v", err)
	}
	if data.NumMessages == 0 {
		return nil
	}
	return fetch(d.t, c)
}

// validity is the UIDVALIDITY of INBOX.
func (d *daemon) validity(user string) uint32 {
	d.t.Helper()
	c := d.imap(user, password, nil)
	defer c.Close()
	s, err := c.Status("INBOX", &imap.StatusOptions{UIDValidity: true}).Wait()
	if err != nil {
		d.t.Fatalf("STATUS: %v", err)
	}
	return s.UIDValidity
}

// fetch reads all of the selected mailbox.
func fetch(t testing.TB, c *imapclient.Client) []stored {
	t.Helper()
	all := imap.UIDSet{{Start: 1, Stop: 0}}
	section := &imap.FetchItemBodySection{Peek: true}
	got, err := c.Fetch(all, &imap.FetchOptions{
		UID: true, Flags: true, RFC822Size: true, BodySection: []*imap.FetchItemBodySection{section},
	}).Collect()
	if err != nil {
		t.Fatalf("FETCH: %v", err)
	}
	var out []stored
	for _, m := range got {
		out = append(out, stored{m.UID, m.Flags, m.RFC822Size, m.FindBodySection(section)})
	}
	return out
}

// inbox waits until INBOX has n messages and returns them. More than n are an
// error.
func (d *daemon) inbox(user string, n int) []stored {
	d.t.Helper()
	c := d.imap(user, password, nil)
	defer c.Close()
	eventually(d.t, "the messages are in the INBOX of "+user, func() bool {
		s, err := c.Status("INBOX", &imap.StatusOptions{NumMessages: true}).Wait()
		if err != nil {
			d.t.Fatalf("STATUS: %v", err)
		}
		if *s.NumMessages > uint32(n) {
			d.t.Fatalf("%d messages in the INBOX of %s, want %d", *s.NumMessages, user, n)
		}
		return *s.NumMessages == uint32(n)
	})
	if n == 0 {
		return nil
	}
	if _, err := c.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
		d.t.Fatalf("EXAMINE: %v", err)
	}
	return fetch(d.t, c)
}

// sameButTrace fails the test unless got is want with header fields of the
// given names, in that order, in front. It returns those fields.
func sameButTrace(t testing.TB, got, want []byte, names ...string) string {
	t.Helper()
	trace, ok := bytes.CutSuffix(got, want)
	if !ok {
		at := 0
		for at < min(len(got), len(want)) && got[len(got)-1-at] == want[len(want)-1-at] {
			at++
		}
		t.Errorf("the message changed: %d octets became %d, the last %d are the same, before that is\n%q, want\n%q",
			len(want), len(got), at, clip(got[:len(got)-at]), clip(want[:len(want)-at]))
		return ""
	}
	var have []string
	for line := range strings.SplitSeq(strings.TrimSuffix(string(trace), "\r\n"), "\r\n") {
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			continue
		}
		name, _, ok := strings.Cut(line, ":")
		if !ok {
			t.Errorf("%q is in front of the message:\n%q", line, clip(trace))
		}
		have = append(have, name)
	}
	if !slices.Equal(have, names) {
		t.Errorf("fields in front of the message are %q, want %q", have, names)
	}
	return string(trace)
}

// clip is the last of b, for showing.
func clip(b []byte) []byte { return b[max(0, len(b)-200):] }

// The fields that a message gets on its way.
var (
	local    = []string{"Return-Path", "Delivered-To", "Received"}
	relayed  = []string{"Received"}
	complete = []string{"Return-Path", "Delivered-To", "Received", "Date", "Message-ID"}
)
