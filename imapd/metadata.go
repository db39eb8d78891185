package imapd

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/wire"
	"restante/spool"
)

// Attributes in which metadata are kept: shared ones, those of one account (whose
// name and a NUL follow), and, with an account's INBOX, those of the server.
const (
	sharedPrefix        = "meta/shared/"
	privatePrefix       = "meta/private/"
	serverPrivatePrefix = "server/private/"
)

// maxEntries bounds the entries that one command names.
const maxEntries = 100

// entryName reads the name of an entry (RFC 5464 section 3.2), or of all that are
// private or shared. Case is of no account.
func entryName(d *wire.Decoder) string {
	name := strings.ToLower(d.AString())
	ok := isRoot(name) || strings.HasPrefix(name, "/private/") || strings.HasPrefix(name, "/shared/")
	bad := strings.Contains(name, "//") || strings.HasSuffix(name, "/") || strings.ContainsAny(name, "*%") ||
		strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' })
	if !ok || bad || len(name) > spool.MaxAttributeName/2 {
		d.Fail("Malformed name of an entry")
	}
	return name
}

// isRoot tells whether a name is what all entries are below, and not one itself.
func isRoot(name string) bool { return name == "/private" || name == "/shared" }

// metadataAt tells with which mailbox the metadata of a name are kept, and how an
// entry is called there; "" is the server.
func (s *session) metadataAt(name string, need rights) (place, func(entry string) string, error) {
	at, server := name, name == ""
	if server {
		at = spool.Inbox
	}
	p, err := s.mailbox(at, need)
	return p, func(entry string) string {
		rest, private := strings.CutPrefix(entry, "/private/")
		switch {
		case private && server:
			return serverPrivatePrefix + rest
		case server:
			return "" // there are none
		}
		return s.entryKey(entry)
	}, err
}

// entryKey is how an entry is called among the attributes of a mailbox.
func (s *session) entryKey(entry string) string {
	if rest, private := strings.CutPrefix(entry, "/private/"); private {
		return privatePrefix + identifier(s.account) + "\x00" + rest
	}
	return sharedPrefix + strings.TrimPrefix(entry, "/shared/")
}

// metadataQuery is what GETMETADATA asks for.
type metadataQuery struct {
	mailbox string
	entries []string
	// most bounds a value, in octets; -1 does not.
	most int64
	// depth is 0, 1, or -1 for all that is below an entry.
	depth int
}

// parseGetMetadata reads GETMETADATA (RFC 5464 section 4.2). Some clients have the
// options behind the mailbox, as the RFC's examples did before they were corrected.
func (s *session) parseGetMetadata(d *wire.Decoder, _ call) action {
	q := metadataQuery{most: -1}
	d.Space()
	before := d.TryList(func() { q.option(d) })
	if before {
		d.Space()
	}
	q.mailbox = d.Mailbox(s.rawNames())
	d.Space()
	// The grammar has the options in front of the mailbox, the RFC's examples behind.
	options, first := false, true
	list := d.TryList(func() {
		if first {
			options = !before && !strings.ContainsRune(`/"{`, rune(d.Peek()))
			first = false
		}
		if options {
			q.option(d)
		} else {
			q.entry(d)
		}
	})
	if options {
		d.Space()
		list = d.TryList(func() { q.entry(d) })
	}
	if !list {
		q.entry(d)
	}
	if d.Err() == nil && len(q.entries) == 0 {
		d.Fail("An entry is missing")
	}
	return func() error { return s.getMetadata(&q) }
}

// option reads an option.
func (q *metadataQuery) option(d *wire.Decoder) {
	switch word := d.Word(); word {
	case "MAXSIZE":
		d.Space()
		q.most = int64(d.Number())
	case "DEPTH":
		d.Space()
		depth, known := map[string]int{"0": 0, "1": 1, "INFINITY": -1}[d.Word()]
		if q.depth = depth; !known {
			d.Fail("Unknown depth")
		}
	default:
		d.Fail("Unknown option of GETMETADATA")
	}
}

// entry reads the name of an entry.
func (q *metadataQuery) entry(d *wire.Decoder) {
	if q.entries = append(q.entries, entryName(d)); len(q.entries) > maxEntries {
		d.Fail("Too many entries")
	}
}

// wants tells whether an entry is asked for.
func (q *metadataQuery) wants(entry string) bool {
	return slices.ContainsFunc(q.entries, func(asked string) bool {
		rest, below := strings.CutPrefix(entry, asked+"/")
		return entry == asked || below && (q.depth < 0 || q.depth == 1 && !strings.Contains(rest, "/"))
	})
}

// getMetadata tells of the entries that are there. Of values that are too long the
// reply tells the longest.
func (s *session) getMetadata(q *metadataQuery) error {
	p, key, err := s.metadataAt(q.mailbox, rightLookup|rightRead)
	if err != nil {
		return s.failure("metadata", err)
	}
	attributes, err := s.srv.opt.Mailboxes.Attributes(p.row.ID)
	if err != nil {
		return s.failure("metadata", err)
	}
	found := make(map[string]*string)
	long := 0
	for _, scope := range []string{"/private/", "/shared/"} {
		prefix := key(scope)
		for name, value := range attributes {
			rest, is := strings.CutPrefix(name, prefix)
			switch {
			case prefix == "" || !is || !q.wants(scope+rest):
			case q.most >= 0 && int64(len(value)) > q.most:
				long = max(long, len(value))
			default:
				found[scope+rest] = &value
			}
		}
	}
	if len(found) > 0 {
		name := p.name
		if q.mailbox == "" {
			name = ""
		}
		s.tellMetadata(name, found)
	}
	if long > 0 {
		return ok(fmt.Sprintf("METADATA LONGENTRIES %d", long))
	}
	return nil
}

// tellMetadata writes a METADATA response; a value that is not there is nil.
func (s *session) tellMetadata(name string, found map[string]*string) {
	s.out.Raw("* METADATA ").Mailbox(name).Raw(" (")
	for i, entry := range slices.Sorted(maps.Keys(found)) {
		if i > 0 {
			s.out.Raw(" ")
		}
		if strings.ContainsAny(entry, ` ()[]{}"\`) {
			s.out.String(entry)
		} else {
			s.out.Raw(entry)
		}
		s.out.Raw(" ")
		s.tellValue(found[entry])
	}
	s.out.Raw(")").CRLF()
}

// listedMetadata tells entries of a mailbox that LIST has named (RFC 9590 section 3).
func (s *session) listedMetadata(name string, id spool.MailboxID, entries []string) error {
	attributes, err := s.srv.opt.Mailboxes.Attributes(id)
	if err != nil {
		return err
	}
	found := make(map[string]*string)
	for _, entry := range entries {
		found[entry] = nil
		if value, there := attributes[s.entryKey(entry)]; there {
			found[entry] = &value
		}
	}
	s.tellMetadata(name, found)
	return nil
}

// tellValue writes a value: as a literal8 if there are octets of value 0 in it, which
// stand in no other string (RFC 5464 section 5).
func (s *session) tellValue(value *string) {
	switch {
	case value == nil:
		s.out.Raw("NIL")
	case strings.IndexByte(*value, 0) < 0:
		s.out.String(*value)
	default:
		s.out.Raw("~{").Number(uint64(len(*value))).Raw("}").CRLF().Raw(*value)
	}
}

// parseSetMetadata reads SETMETADATA (RFC 5464 section 4.3).
func (s *session) parseSetMetadata(d *wire.Decoder, _ call) action {
	d.Space()
	name := d.Mailbox(s.rawNames())
	d.Space()
	change := make(map[string]*string)
	d.List(func() {
		entry := entryName(d)
		if isRoot(entry) {
			d.Fail("Malformed name of an entry")
		}
		d.Space()
		change[entry] = nil
		if value, there := d.NString(); there {
			change[entry] = &value
		}
		if len(change) > maxEntries {
			d.Fail("Too many entries")
		}
	})
	if d.Err() == nil && len(change) == 0 {
		d.Fail("An entry is missing")
	}
	return func() error { return s.setMetadata(name, change) }
}

// setMetadata changes entries, all or none. What is shared takes the right to
// write; of the server nobody can change that.
func (s *session) setMetadata(name string, change map[string]*string) error {
	need := rightLookup | rightRead
	for entry, value := range change {
		if strings.HasPrefix(entry, "/shared/") {
			need |= rightWrite
		}
		if value != nil && len(*value) > spool.MaxAttributeValue {
			return no(imap.ResponseCode(fmt.Sprintf("METADATA MAXSIZE %d", spool.MaxAttributeValue)), "The value is too long")
		}
	}
	if name == "" && need.has(rightWrite) {
		return errNoPerm
	}
	p, key, err := s.metadataAt(name, need)
	if err != nil {
		return s.failure("metadata", err)
	}
	keyed := make(map[string]*string, len(change))
	for entry, value := range change {
		keyed[key(entry)] = value
	}
	err = s.srv.opt.Mailboxes.SetAttributes(p.row.ID, keyed)
	if errors.Is(err, spool.ErrAttributes) {
		return no("METADATA TOOMANY", "There are too many entries, or a name is too long")
	}
	if err != nil {
		return s.failure("metadata", err)
	}
	s.wroteMetadata(p.row.ID, name == "", change)
	return nil
}
