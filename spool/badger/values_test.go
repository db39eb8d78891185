package badger

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"restante/internal/mail"
	"restante/spool"
)

// A record too large for Badger's tree goes to its value log, and must be as
// durable there.
func TestLargeValuesAreSynced(t *testing.T) {
	e := open(t, Options{})
	var mu sync.Mutex
	synced := make(map[string]int)
	e.wal.datasync = func(f *os.File) error {
		mu.Lock()
		synced[filepath.Ext(f.Name())]++
		mu.Unlock()
		return datasync(f)
	}
	commit(t, e, []byte("x"), forBob)
	if synced[".vlog"] > 0 {
		t.Error("the value log was synced for nothing")
	}
	m := spool.Message{Tasks: []spool.Task{{Destination: forBob.Tasks[0].Destination}}}
	for i := range maxRecipients {
		to := mail.Address{Local: fmt.Sprintf("%0120d", i), Domain: "example.net"}
		m.Tasks[0].Recipients = append(m.Tasks[0].Recipients, mail.Recipient{To: to})
	}
	id := commit(t, e, []byte("x"), m).Tasks[0]
	mu.Lock()
	if synced[".vlog"] == 0 {
		t.Error("the value log was not synced")
	}
	mu.Unlock()
	e = reopen(t, e)
	tasks, err := e.MessageTasks(id.Message)
	if err != nil || len(tasks) != 1 || len(tasks[0].Recipients) != maxRecipients {
		t.Errorf("%d tasks, %v", len(tasks), err)
	}
}
