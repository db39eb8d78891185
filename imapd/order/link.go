package order

// linker connects messages by their identifiers (RFC 5256 section 3, REFERENCES,
// steps 1 to 3).
type linker struct {
	known map[string]*Thread
	// made are all threads, in the order in which they came up.
	made []*Thread
	// steps is how many levels may still be climbed in search of loops. When
	// they are used up, what would take a search is left unconnected: this
	// bounds the time that crafted references cost.
	steps int
}

// stepsPerMessage is what honest conversations are far from needing.
const stepsPerMessage = 1000

// link returns the threads, without those of which no message is there. On no
// level but the first is a message missing.
func link(letters []Letter) []*Thread {
	l := linker{known: make(map[string]*Thread, len(letters)), steps: stepsPerMessage * (len(letters) + 1)}
	own := make([]*Thread, len(letters))
	for i := range letters {
		own[i] = l.place(&letters[i])
	}
	for i, t := range own {
		l.connect(t, letters[i].refs)
	}
	var roots []*Thread
	for _, t := range l.made {
		if t.parent != nil {
			t.parent.Answers = append(t.parent.Answers, t)
		}
	}
	for _, t := range l.made {
		if t.parent != nil {
			continue
		}
		t.prune()
		switch {
		case t.Letter != nil || len(t.Answers) > 1:
			roots = append(roots, t)
		case len(t.Answers) == 1:
			roots = append(roots, t.Answers[0])
		}
	}
	return roots
}

// place finds a message its place: that of its identifier, unless an earlier
// message has that already.
func (l *linker) place(letter *Letter) *Thread {
	t := l.named(letter.id)
	if letter.id == "" || t.Letter != nil {
		t = l.add()
	}
	t.Letter = letter
	return t
}

func (l *linker) add() *Thread {
	t := new(Thread)
	l.made = append(l.made, t)
	return t
}

// named returns the place of an identifier.
func (l *linker) named(id string) *Thread {
	if id == "" {
		return nil
	}
	t, ok := l.known[id]
	if !ok {
		t = l.add()
		l.known[id] = t
	}
	return t
}

// connect makes each reference the answer to the one before it, where nothing
// else is known, and the message the answer to the last.
func (l *linker) connect(t *Thread, refs []string) {
	var last *Thread
	for _, id := range refs {
		next := l.named(id)
		if last != nil && next.parent == nil && !l.above(next, last) {
			next.parent = last
			last.answered = true
		}
		last = next
	}
	t.parent = nil
	if last != nil && !l.above(t, last) {
		t.parent = last
		last.answered = true
	}
}

// above tells whether t is under below or is it, or whether there are no steps
// left to find out: then t must not become its answer.
func (l *linker) above(t, below *Thread) bool {
	if t == below {
		return true
	}
	if !t.answered {
		return false // Nothing is under t.
	}
	for ; below != nil; below = below.parent {
		if l.steps--; l.steps < 0 || below == t {
			return true
		}
	}
	return false
}

// prune puts the answers to missing messages in the place of these, on all levels
// below t.
func (t *Thread) prune() {
	t.walk(func(t *Thread) {
		pending := t.Answers
		t.Answers = nil
		for len(pending) > 0 {
			a := pending[len(pending)-1]
			pending = pending[:len(pending)-1]
			if a.Letter == nil {
				pending = append(pending, a.Answers...)
				continue
			}
			t.Answers = append(t.Answers, a)
		}
	})
}
