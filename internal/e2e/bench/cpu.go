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

// PSS is the memory of a process and all below it, in octets: pages that several
// processes share are divided between them.
func PSS(root int) (int64, error) {
	parents := make(map[int]int)
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil || len(f) < 2 {
			return 0, fmt.Errorf("%s cannot be read", name)
		}
		parents[pid], _ = strconv.Atoi(f[1])
	}
	sum := int64(0)
	for pid := range parents {
		for at := pid; at > 1; at = parents[at] {
			if at == root {
				sum += pss(pid)
				break
			}
		}
	}
	return sum, nil
}

// pss is 0 of a process that has ended.
func pss(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}
