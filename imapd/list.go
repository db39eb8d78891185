package imapd

import (
	"slices"
	"strings"

	"restante/imapd/wire"
	"restante/spool"
)

// maxPattern bounds a pattern of LIST, in octets: longer ones match no name.
const maxPattern = 2000

// listing is what LIST looks at: the mailboxes and subscriptions of an account,
// and what others share with it.
type listing struct {
	account    string
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
	others, err := s.shared()
	if err != nil {
		return nil, err
	}
	boxes = append(boxes, others...)
	subscribed, err := s.srv.opt.Mailboxes.Subscriptions(s.account)
	if err != nil {
		return nil, err
	}
	l := &listing{
		account:         s.account,
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

// listOptions are what LIST-EXTENDED adds (RFC 5258, 5819, 6154).
type listOptions struct {
	lsub                               bool
	onlySubscribed, onlyUse, recursive bool
	returnSubscribed, rights           bool
	status                             []string // STATUS items, nil for none
	metadata                           []string // entries of metadata
	ref                                string
	patterns                           []string
	extended                           bool
}

// parseList reads LIST and LSUB.
func (s *session) parseList(d *wire.Decoder, c call) action {
	o := listOptions{lsub: c.verb == "LSUB"}
	d.Space()
	if !o.lsub && d.TryList(func() { o.selection(d) }) {
		o.extended = true
		d.Space()
	}
	if o.recursive && !o.onlySubscribed {
		d.Fail("RECURSIVEMATCH needs another option")
	}
	o.ref = d.Mailbox(s.rawNames())
	d.Space()
	if !o.lsub && d.Peek() == '(' {
		o.extended = true
		d.List(func() { o.patterns = append(o.patterns, d.Pattern(s.rawNames())) })
		if len(o.patterns) == 0 {
			d.Fail("A pattern is missing")
		}
	} else {
		o.patterns = append(o.patterns, d.Pattern(s.rawNames()))
	}
	if !o.lsub && d.TrySpace() {
		o.extended = true
		if word := d.Word(); word != "RETURN" {
			d.Fail("Expected RETURN")
		}
		d.Space()
		d.List(func() { o.returns(d) })
	}
	return func() error { return s.list(&o) }
}

func (o *listOptions) selection(d *wire.Decoder) {
	switch word := d.Word(); word {
	case "SUBSCRIBED":
		o.onlySubscribed = true
	case "REMOTE":
	case "RECURSIVEMATCH":
		o.recursive = true
	case "SPECIAL-USE":
		o.onlyUse = true
	default:
		d.Fail("Unknown selection option of LIST")
	}
}

func (o *listOptions) returns(d *wire.Decoder) {
	switch word := d.Word(); word {
	case "SUBSCRIBED":
		o.returnSubscribed = true
	case "CHILDREN", "SPECIAL-USE":
	case "MYRIGHTS":
		o.rights = true
	case "STATUS":
		d.Space()
		o.status = statusItems(d)
	case "METADATA":
		d.Space()
		d.List(func() { o.metadata = append(o.metadata, entryName(d)) })
		if len(o.metadata) == 0 || len(o.metadata) > maxEntries {
			d.Fail("METADATA takes from one to %d entries", maxEntries)
		}
	default:
		d.Fail("Unknown return option of LIST")
	}
}

// list lists mailboxes (RFC 9051 section 6.3.9). Special uses and whether there
// are children are always told.
func (s *session) list(o *listOptions) error {
	if !o.extended && len(o.patterns) == 1 && o.patterns[0] == "" {
		// Asked for the separator.
		s.listed("LIST", listData{attrs: []string{`\Noselect`}})
		return nil
	}
	s.enableFor(o.status)
	l, err := s.listing()
	if err != nil {
		return s.failure("list", err)
	}
	for i, p := range o.patterns {
		o.patterns[i] = fullPattern(o.ref, p)
	}
	verb := "LIST"
	if o.lsub {
		verb = "LSUB"
	}
	if o.recursive {
		l.onlyHidden(o)
	}
	for _, name := range l.names() {
		matched, asLevel := o.matches(name)
		if !matched || !asLevel && !l.isNamed(name) {
			continue
		}
		data, ok := listData{}, false
		if o.lsub {
			data, ok = l.lsub(name, asLevel)
		} else {
			data, ok = l.list(name, o)
		}
		if !ok {
			continue
		}
		s.listed(verb, data)
		if row, ok := l.boxes[name]; ok {
			if err := s.listedMore(name, row, o); err != nil {
				return s.failure("list", err)
			}
		}
	}
	return nil
}

// matches tells whether a pattern matches a name, and one that takes in levels
// that are no mailboxes.
func (o *listOptions) matches(name string) (matched, asLevel bool) {
	for _, p := range o.patterns {
		if matchName(p, name) {
			matched, asLevel = true, asLevel || strings.HasSuffix(p, "%")
		}
	}
	return matched, asLevel
}

// onlyHidden leaves of subscribedBelow the levels above names that are not listed
// themselves: only these need CHILDINFO (RFC 5258 section 3.5).
func (l *listing) onlyHidden(o *listOptions) {
	clear(l.subscribedBelow)
	for name := range l.subscribed {
		if matched, _ := o.matches(name); matched {
			continue
		}
		for parent := range above(name) {
			l.subscribedBelow[parent] = true
		}
	}
}

// listedMore tells rights (RFC 8440), status (RFC 5819) and metadata (RFC 9590) of a
// mailbox, the latter two only to who may read it.
func (s *session) listedMore(name string, row spool.Mailbox, o *listOptions) error {
	if !o.rights && o.status == nil && o.metadata == nil {
		return nil
	}
	r, err := s.rightsOf(row)
	if err != nil {
		return err
	}
	if o.rights {
		s.tellRights(name, r)
	}
	if !r.has(rightRead) {
		return nil
	}
	if o.status != nil {
		err = s.tellStatus(row, o.status)
	}
	if o.metadata != nil && err == nil {
		err = s.listedMetadata(name, row.ID, o.metadata)
	}
	return err
}

// listData is one line of LIST.
type listData struct {
	name  string
	attrs []string
	// below tells of a name below that is subscribed to (CHILDINFO).
	below bool
	// oldName is what it was called before it was renamed, or by a client that knows
	// it under another name, or "".
	oldName string
}

func (s *session) listed(verb string, data listData) {
	s.out.Raw("* ").Raw(verb).Raw(" (").Raw(strings.Join(data.attrs, " ")).Raw(`) "/" `).Mailbox(data.name)
	if data.below {
		s.out.Raw(` ("CHILDINFO" ("SUBSCRIBED"))`)
	}
	if data.oldName != "" && data.oldName != data.name {
		s.out.Raw(` ("OLDNAME" (`).Mailbox(data.oldName).Raw("))")
	}
	s.out.CRLF()
}

// isNamed tells whether somebody made or subscribed to a name. What is only a
// level above such names is listed for patterns that end in "%" alone.
func (l *listing) isNamed(name string) bool {
	_, exists := l.boxes[name]
	return exists || l.subscribed[name]
}

// list returns what LIST says of a name, if it is asked for.
func (l *listing) list(name string, o *listOptions) (data listData, ok bool) {
	row, exists := l.boxes[name]
	subscribed := l.subscribed[name]
	inner := o.recursive && l.subscribedBelow[name]
	switch {
	case o.onlySubscribed && !subscribed && !inner,
		!o.onlySubscribed && !exists && !l.parents[name],
		o.onlyUse && row.Use == spool.UseNone:
		return data, false
	}
	data.name = name
	if !exists {
		// \NonExistent implies \Noselect, which older clients know.
		data.attrs = append(data.attrs, `\NonExistent`)
		if !o.extended {
			data.attrs = append(data.attrs, `\Noselect`)
		}
	}
	if l.parents[name] {
		data.attrs = append(data.attrs, `\HasChildren`)
	} else {
		data.attrs = append(data.attrs, `\HasNoChildren`)
	}
	if subscribed && (o.onlySubscribed || o.returnSubscribed) {
		data.attrs = append(data.attrs, `\Subscribed`)
	}
	if row.Use != spool.UseNone {
		data.attrs = append(data.attrs, `\`+string(row.Use))
	}
	data.below = inner
	return data, true
}

// lsub returns what LSUB says of a name: a level that is above a subscription
// and not subscribed to is \Noselect (RFC 3501 section 6.3.9).
func (l *listing) lsub(name string, asLevel bool) (data listData, ok bool) {
	switch {
	case l.subscribed[name]:
		return listData{name: name}, true
	case asLevel && l.subscribedBelow[name]:
		return listData{name: name, attrs: []string{`\Noselect`}}, true
	}
	return data, false
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
				if reached[i] && (p == '*' || name[i] != spool.Separator[0]) {
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
