package imapd

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"restante/spool"
)

// maxPattern bounds a pattern of LIST, in octets: longer ones match no name.
const maxPattern = 2000

// listing is what LIST looks at: the account's mailboxes and subscriptions.
type listing struct {
	boxes      map[string]spool.Mailbox
	subscribed map[string]bool
	// parents are the levels above a mailbox, subscribedBelow those above a
	// subscription.
	parents, subscribedBelow map[string]bool
}

func (s *session) listing() (*listing, error) {
	boxes, err := s.srv.opt.Mailboxes.ListMailboxes(s.account)
	if err != nil {
		return nil, err
	}
	subscribed, err := s.srv.opt.Mailboxes.Subscriptions(s.account)
	if err != nil {
		return nil, err
	}
	l := &listing{
		boxes:           make(map[string]spool.Mailbox),
		subscribed:      make(map[string]bool),
		parents:         make(map[string]bool),
		subscribedBelow: make(map[string]bool),
	}
	for _, row := range boxes {
		l.boxes[row.Name] = row
		for parent := range above(row.Name) {
			l.parents[parent] = true
		}
	}
	for _, name := range subscribed {
		l.subscribed[name] = true
		for parent := range above(name) {
			l.subscribedBelow[parent] = true
		}
	}
	return l, nil
}

// above iterates over the levels above a name.
func above(name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for {
			i := strings.LastIndex(name, spool.Separator)
			if i < 0 {
				return
			}
			name = name[:i]
			if !yield(name) {
				return
			}
		}
	}
}

// names are all that can be listed, sorted, INBOX first: mailboxes,
// subscriptions, and levels above them that are no mailboxes.
func (l *listing) names() []string {
	seen := make(map[string]bool)
	var list []string
	for _, set := range []map[string]bool{l.subscribed, l.parents, l.subscribedBelow} {
		for name := range set {
			if !seen[name] {
				seen[name] = true
				list = append(list, name)
			}
		}
	}
	for name := range l.boxes {
		if !seen[name] {
			list = append(list, name)
		}
	}
	slices.SortFunc(list, spool.CompareNames)
	return list
}

// List lists mailboxes (RFC 9051 section 6.3.9, with RFC 5258, 5819 and 6154).
// Special uses and whether there are children are always told.
func (s *session) List(w *imapserver.ListWriter, ref string, patterns []string, options *imap.ListOptions) error {
	if len(patterns) == 0 || len(patterns) == 1 && patterns[0] == "" {
		// Asked for the separator.
		return w.WriteList(&imap.ListData{Attrs: []imap.MailboxAttr{imap.MailboxAttrNoSelect}, Delim: separator})
	}
	l, err := s.listing()
	if err != nil {
		return s.failure("list", err)
	}
	for i, p := range patterns {
		patterns[i] = fullPattern(ref, p)
	}
	lsub := s.link.Verb() == "LSUB"
	for _, name := range l.names() {
		matched, asLevel := false, false
		for _, p := range patterns {
			if matchName(p, name) {
				matched, asLevel = true, asLevel || strings.HasSuffix(p, "%")
			}
		}
		if !matched || !asLevel && !l.isNamed(name) {
			continue
		}
		var data *imap.ListData
		if lsub {
			data = l.lsub(name, asLevel)
		} else {
			data = l.list(name, options)
		}
		if data == nil {
			continue
		}
		if row, ok := l.boxes[name]; ok && options.ReturnStatus != nil {
			if data.Status, err = s.status(row, options.ReturnStatus); err != nil {
				return s.failure("list", err)
			}
		}
		if err := w.WriteList(data); err != nil {
			return err
		}
	}
	return nil
}

// isNamed tells whether somebody made or subscribed to a name. What is only a
// level above such names is listed for patterns that end in "%" alone.
func (l *listing) isNamed(name string) bool {
	_, exists := l.boxes[name]
	return exists || l.subscribed[name]
}

// list returns what LIST says of a name, nil if it is not asked for.
func (l *listing) list(name string, options *imap.ListOptions) *imap.ListData {
	row, exists := l.boxes[name]
	subscribed := l.subscribed[name]
	inner := options.SelectRecursiveMatch && l.subscribedBelow[name]
	switch {
	case options.SelectSubscribed && !subscribed && !inner:
		return nil
	case !options.SelectSubscribed && !exists && !l.parents[name]:
		return nil
	case options.SelectSpecialUse && row.Use == spool.UseNone:
		return nil
	}
	data := &imap.ListData{Mailbox: name, Delim: separator}
	if !exists {
		// \NonExistent implies \Noselect, which older clients know.
		data.Attrs = append(data.Attrs, imap.MailboxAttrNonExistent, imap.MailboxAttrNoSelect)
	}
	if l.parents[name] {
		data.Attrs = append(data.Attrs, imap.MailboxAttrHasChildren)
	} else {
		data.Attrs = append(data.Attrs, imap.MailboxAttrHasNoChildren)
	}
	if subscribed && (options.SelectSubscribed || options.ReturnSubscribed) {
		data.Attrs = append(data.Attrs, imap.MailboxAttrSubscribed)
	}
	if row.Use != spool.UseNone {
		data.Attrs = append(data.Attrs, imap.MailboxAttr(`\`+string(row.Use)))
	}
	if inner {
		data.ChildInfo = &imap.ListDataChildInfo{Subscribed: true}
	}
	return data
}

// lsub returns what LSUB says of a name: a level that is above a subscription
// and not subscribed to is \Noselect (RFC 3501 section 6.3.9).
func (l *listing) lsub(name string, asLevel bool) *imap.ListData {
	switch {
	case l.subscribed[name]:
		return &imap.ListData{Mailbox: name, Delim: separator}
	case asLevel && l.subscribedBelow[name]:
		return &imap.ListData{Mailbox: name, Delim: separator, Attrs: []imap.MailboxAttr{imap.MailboxAttrNoSelect}}
	}
	return nil
}

// fullPattern puts the reference in front. INBOX has no case.
func fullPattern(ref, pattern string) string {
	if rest, ok := strings.CutPrefix(pattern, spool.Separator); ok {
		ref, pattern = "", rest
	}
	p := ref + pattern
	if head, rest, below := strings.Cut(p, spool.Separator); strings.EqualFold(head, spool.Inbox) {
		p = spool.Inbox
		if below {
			p += spool.Separator + rest
		}
	}
	return p
}

// matchName matches a name against a pattern: "*" is anything and "%" anything
// but the separator. It takes time in the product of the lengths.
func matchName(pattern, name string) bool {
	if len(pattern) > maxPattern {
		return false
	}
	// reached[i]: the pattern so far matches name[:i].
	reached := make([]bool, len(name)+1)
	reached[0] = true
	for _, p := range []byte(pattern) {
		switch p {
		case '*', '%':
			for i := range len(name) {
				if reached[i] && (p == '*' || name[i] != separator) {
					reached[i+1] = true
				}
			}
		default:
			for i := len(name); i > 0; i-- {
				reached[i] = reached[i-1] && name[i-1] == p
			}
			reached[0] = false
		}
	}
	return reached[len(name)]
}
