package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// CPUTime is what a process and all below it have used, those of their children
// that have ended included.
func CPUTime(root int) (time.Duration, error) {
	type process struct{ parent, ticks int }
	all := make(map[int]process)
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// The name of the program, in parentheses, may hold anything.
		i := bytes.LastIndexByte(b, ')')
		f := strings.Fields(string(b[i+1:]))
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil || len(f) < 15 {
			return 0, fmt.Errorf("%s cannot be read", name)
		}
		// state ppid … utime(14) stime(15) cutime(16) cstime(17), counted from 1
		// with the pid and the name as the first two.
		number := func(field int) int { n, _ := strconv.Atoi(f[field-3]); return n }
		all[pid] = process{number(4), number(14) + number(15) + number(16) + number(17)}
	}
	if _, ok := all[root]; !ok {
		return 0, fmt.Errorf("process %d has ended", root)
	}
	ticks := 0
	for pid, p := range all {
		for at := pid; at > 1; at = all[at].parent {
			if at == root {
				ticks += p.ticks
				break
			}
		}
	}
	return time.Duration(ticks) * time.Second / 100, nil // USER_HZ
}
