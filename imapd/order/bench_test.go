package order

import (
	"fmt"
	"testing"

	"restante/spool"
)

// conversation are n messages in threads of ten.
func conversation(n int) []Letter {
	var lines []string
	for i := range n {
		refs := ""
		for j := i - i%10; j < i; j++ {
			refs += fmt.Sprintf(" m%d", j)
		}
		lines = append(lines, fmt.Sprintf("m%d|%s|Re: subject %d", i, refs, i/10))
	}
	return letters(lines...)
}

func BenchmarkReferences(b *testing.B) {
	list := conversation(10_000)
	b.ReportAllocs()
	for b.Loop() {
		References(list)
	}
}

func BenchmarkSort(b *testing.B) {
	s := Sorter{[]Key{{By: Subject}, {By: Date, Reverse: true}}}
	var rows []Row
	for i := range 10_000 {
		e, m := message(spool.UID(i+1), i, fmt.Sprintf("Subject: Re: subject %d", i*7919%1000))
		rows = append(rows, s.NewRow(e, m, 0))
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Sort(append([]Row(nil), rows...))
	}
}
