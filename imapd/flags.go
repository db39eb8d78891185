package imapd

import (
	"maps"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/wire"
	"restante/spool"
)

// Bounds on the keywords of one message and on the length of one, in octets.
const (
	maxKeywords = 100
	maxKeyword  = 200
)

// systemFlags are in the order in which they are shown.
func systemFlags() []imap.Flag {
	return []imap.Flag{imap.FlagAnswered, imap.FlagFlagged, imap.FlagDeleted, imap.FlagSeen, imap.FlagDraft}
}

func systemFlag(f imap.Flag) spool.SystemFlags {
	switch f {
	case imap.FlagSeen:
		return spool.Seen
	case imap.FlagAnswered:
		return spool.Answered
	case imap.FlagFlagged:
		return spool.Flagged
	case imap.FlagDeleted:
		return spool.Deleted
	case imap.FlagDraft:
		return spool.Draft
	}
	return 0
}

// writeFlags writes the flags of a message in the selected mailbox. What could not
// stand in a response is left out.
func (s *session) writeFlags(w *wire.Encoder, e *spool.Entry) *wire.Encoder {
	sep := "("
	for _, flag := range [...]struct {
		bit  spool.SystemFlags
		name string
	}{{spool.Answered, `\Answered`}, {spool.Flagged, `\Flagged`}, {spool.Deleted, `\Deleted`}, {spool.Seen, `\Seen`}, {spool.Draft, `\Draft`}} {
		if e.Flags.System&flag.bit != 0 {
			w.Raw(sep).Raw(flag.name)
			sep = " "
		}
	}
	if !s.has(rev2) && s.box.view.Recent(e.UID) {
		w.Raw(sep).Raw(recentFlag)
		sep = " "
	}
	for _, k := range e.Flags.Keywords {
		if isKeyword(k) {
			w.Raw(sep).Raw(k)
			sep = " "
		}
	}
	if sep == "(" {
		w.Raw(sep)
	}
	return w.Raw(")")
}

// isKeyword follows flag-keyword of RFC 9051 section 9.
func isKeyword(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`(){%*"\]`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// parseFlags reads the flags of STORE and APPEND. \Recent, which some clients
// send back, is passed over.
func parseFlags(list []imap.Flag) (spool.Flags, error) {
	var f spool.Flags
	for _, flag := range list {
		bit := systemFlag(flag)
		switch {
		case bit != 0:
			f.System |= bit
		case strings.EqualFold(string(flag), recentFlag):
		case strings.HasPrefix(string(flag), `\`) || !isKeyword(string(flag)):
			return f, bad("No such flag")
		case len(flag) > maxKeyword:
			return f, no(imap.ResponseCodeLimit, "Keyword is too long")
		default:
			f.Keywords = append(f.Keywords, string(flag))
		}
	}
	slices.Sort(f.Keywords)
	f.Keywords = slices.CompactFunc(f.Keywords, strings.EqualFold)
	if len(f.Keywords) > maxKeywords {
		return f, no(imap.ResponseCodeLimit, "Too many keywords")
	}
	return f, nil
}

// flags are those defined in the mailbox, as far as the client knows.
func (b *selection) flags() []imap.Flag {
	list := systemFlags()
	for _, k := range slices.Sorted(maps.Values(b.keywords)) {
		if isKeyword(k) {
			list = append(list, imap.Flag(k))
		}
	}
	return list
}

// note remembers keywords that the client was not told of.
func (b *selection) note(f spool.Flags) {
	for _, k := range f.Keywords {
		b.moreKeywords = b.know(k) || b.moreKeywords
	}
}

// know remembers a keyword; it is false for one that is known, in any case: a
// client is not told of two that are the same.
func (b *selection) know(keyword string) bool {
	key := strings.ToLower(keyword)
	if _, known := b.keywords[key]; known {
		return false
	}
	b.keywords[key] = keyword
	b.vocabulary.add(keyword)
	return true
}

// spelled writes keywords as they are known.
func (b *selection) spelled(keywords []string) []string {
	for i, k := range keywords {
		if known, ok := b.keywords[strings.ToLower(k)]; ok {
			keywords[i] = known
		}
	}
	slices.Sort(keywords)
	return keywords
}

// listen takes over the keywords that other sessions know.
func (b *selection) listen() {
	more := b.vocabulary.since(b.heard)
	b.heard += len(more)
	b.note(spool.Flags{Keywords: more})
}

// storeFlags reads the flags of a STORE, with parentheses or without.
func storeFlags(d *wire.Decoder) (list []imap.Flag) {
	if d.Peek() == '(' {
		return d.Flags()
	}
	for list = append(list, d.Flag()); d.Err() == nil && d.TrySpace(); {
		list = append(list, d.Flag())
	}
	return list
}
