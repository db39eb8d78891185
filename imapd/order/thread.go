package order

import (
	"cmp"
	"slices"
)

// Thread is a message and the answers to it. Letter is nil where a message is
// missing that its answers, two at least, have in common; only a root can be so.
type Thread struct {
	Letter  *Letter
	Answers []*Thread

	parent *Thread
	// answered tells that something was connected below it.
	answered bool
	latest   int64 // when its last message arrived
}

// OrderedSubject makes threads of messages with the same base subject: the
// earliest is the one that all others answer.
func OrderedSubject(letters []Letter) []*Thread {
	byDate(letters)
	var roots []*Thread
	subjects := make(map[string]*Thread)
	for i := range letters {
		l := &letters[i]
		t := &Thread{Letter: l}
		if first, ok := subjects[l.subject]; ok {
			first.Answers = append(first.Answers, t)
			continue
		}
		subjects[l.subject] = t
		roots = append(roots, t)
	}
	return roots
}

// References makes threads by Message-ID, References and In-Reply-To, and joins
// those with the same base subject.
func References(letters []Letter) []*Thread {
	roots := link(letters)
	sortThreads(roots)
	roots = join(roots)
	for _, t := range roots {
		t.sort()
	}
	sortThreads(roots)
	return roots
}

// Refs makes threads as References does, without a look at subjects. The one that
// a message came into last is the last.
func Refs(letters []Letter) []*Thread {
	roots := link(letters)
	for _, t := range roots {
		t.sort()
		t.latest = t.lastArrived()
	}
	slices.SortFunc(roots, func(a, b *Thread) int {
		return cmp.Or(cmp.Compare(a.latest, b.latest), compareThreads(a, b))
	})
	return roots
}

// byDate sorts by the date and then by UID.
func byDate(letters []Letter) {
	slices.SortFunc(letters, func(a, b Letter) int { return compareLetters(&a, &b) })
}

func compareLetters(a, b *Letter) int {
	return cmp.Or(cmp.Compare(a.sent, b.sent), cmp.Compare(a.UID, b.UID))
}

// first is the message that stands for a thread: where it is missing, its first
// answer.
func (t *Thread) first() *Letter {
	for t.Letter == nil {
		t = t.Answers[0]
	}
	return t.Letter
}

func compareThreads(a, b *Thread) int { return compareLetters(a.first(), b.first()) }

// sortThreads sorts neighbours. Of those whose message is missing the answers
// are sorted before, which tells their date.
func sortThreads(list []*Thread) {
	for _, t := range list {
		if t.Letter == nil {
			slices.SortFunc(t.Answers, compareThreads)
		}
	}
	slices.SortFunc(list, compareThreads)
}

// walk visits a thread, every message before its answers.
func (t *Thread) walk(visit func(t *Thread)) {
	stack := []*Thread{t}
	for len(stack) > 0 {
		t := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		visit(t)
		stack = append(stack, t.Answers...)
	}
}

// sort sorts the answers on every level. Only a root can be missing, so that the
// order of the levels makes no difference.
func (t *Thread) sort() {
	t.walk(func(t *Thread) { slices.SortFunc(t.Answers, compareThreads) })
}

func (t *Thread) lastArrived() (last int64) {
	known := false
	t.walk(func(t *Thread) {
		if t.Letter != nil && (!known || t.Letter.arrived > last) {
			last, known = t.Letter.arrived, true
		}
	})
	return last
}

// join puts roots with the same subject into one thread (RFC 5256 section 3,
// REFERENCES, step 5).
func join(roots []*Thread) []*Thread {
	subjects := make(map[string]*Thread, len(roots))
	for _, t := range roots {
		t.parent = nil
		first := t.first()
		if first.subject == "" {
			continue
		}
		old, ok := subjects[first.subject]
		if !ok || old.Letter != nil && (t.Letter == nil || old.Letter.reply && !first.reply) {
			subjects[first.subject] = t
		}
	}
	for _, t := range roots {
		first := t.first()
		main, ok := subjects[first.subject]
		switch {
		case !ok || main == t || t.parent != nil:
		case main.Letter == nil && t.Letter == nil:
			main.adopt(t.Answers...)
			t.parent = main
		case main.Letter == nil, first.reply && !main.Letter.reply:
			main.adopt(t)
		default:
			// Neither answers the other.
			both := new(Thread)
			both.adopt(main, t)
			subjects[first.subject] = both
			roots = append(roots, both)
		}
	}
	return slices.DeleteFunc(roots, func(t *Thread) bool { return t.parent != nil })
}

func (t *Thread) adopt(list ...*Thread) {
	for _, a := range list {
		a.parent = t
	}
	t.Answers = append(t.Answers, list...)
}
