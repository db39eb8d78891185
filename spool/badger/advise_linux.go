package badger

import (
	"bytes"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// adviseRandom tells the kernel not to read a mapped log ahead. Without that
// it fills the page cache of the empty log with large folios, and writing one
// record makes a whole one dirty: a lone commit of 64 KiB wrote 152 KiB, and
// writes 74 KiB so. It is advice: when it fails nothing is lost but that.
func adviseRandom(name string) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range bytes.Lines(maps) {
		line = bytes.TrimSpace(line)
		if !bytes.HasSuffix(line, []byte(" "+name)) {
			continue
		}
		var from, to uintptr
		if _, err := fmt.Sscanf(string(line), "%x-%x", &from, &to); err == nil {
			// By address, since the mapping is Badger's.
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_RANDOM)
		}
	}
}
