package imapd

import (
	"sync"
	"sync/atomic"

	"restante/spool"
)

// Keywords are those of the mailboxes that clients have selected now. Whatever
// keyword one of them was told of is announced to the others as well, though the
// last message may have lost it before they looked: so the FLAGS of all sessions
// of a mailbox agree as soon as they have heard everything. All servers of one
// spool share one. The zero value is ready.
type Keywords struct {
	mu sync.Mutex
	of map[spool.MailboxID]*vocabulary
}

// vocabulary are the keywords of a mailbox. It lasts as long as somebody has the
// mailbox selected.
type vocabulary struct {
	sessions int // guarded by Keywords.mu

	mu    sync.Mutex
	known map[string]bool
	list  []string // in the order in which they became known
	size  atomic.Int32
}

// maxVocabulary bounds the keywords that are passed on to other sessions of a
// mailbox before they see a message that has one.
const maxVocabulary = 1000

// join gives a session the vocabulary of a mailbox; leave must be called with it.
func (k *Keywords) join(id spool.MailboxID) *vocabulary {
	k.mu.Lock()
	defer k.mu.Unlock()
	v := k.of[id]
	if v == nil {
		v = &vocabulary{known: make(map[string]bool)}
		if k.of == nil {
			k.of = make(map[spool.MailboxID]*vocabulary)
		}
		k.of[id] = v
	}
	v.sessions++
	return v
}

func (k *Keywords) leave(id spool.MailboxID, v *vocabulary) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if v.sessions--; v.sessions == 0 {
		delete(k.of, id)
	}
}

// add makes a keyword known.
func (v *vocabulary) add(keyword string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known[keyword] || len(v.list) == maxVocabulary {
		return
	}
	v.known[keyword] = true
	v.list = append(v.list, keyword)
	v.size.Store(int32(len(v.list)))
}

// since returns the keywords behind the first n.
func (v *vocabulary) since(n int) []string {
	if int(v.size.Load()) == n {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.list[n:len(v.list):len(v.list)]
}
