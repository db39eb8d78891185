package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// With less free space than the configuration wants to see, clients are told to
// come again; the daemon goes on and says why.
func TestFullDisk(t *testing.T) {
	d := prepare(t)
	var st syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &st); err != nil {
		t.Fatal(err)
	}
	// More than there is, and less than twice that, below which nothing works.
	d.configure(fmt.Sprintf("[spool]\nmin_free = \"%dMiB\"", int64(st.Bavail)*int64(st.Bsize)>>20*3/2))
	d.start()
	c := d.smtp()
	defer c.close()
	err := c.envelope("someone@example.net", "postmaster@localhost")
	var r reply
	if err == nil {
		r, err = c.data([]byte("Subject: x\r\n\r\nx\r\n"))
	}
	if text := fmt.Sprint(r, err); !strings.Contains(text, "452") || !strings.Contains(text, "4.3.1") {
		t.Errorf("the message was answered with %s, want 452 4.3.1", text)
	}
	if out := d.must("", "status", "--state", d.state); !strings.Contains(out, "NO MAIL IS TAKEN IN") {
		t.Errorf("the status does not tell:\n%s", out)
	}
}
