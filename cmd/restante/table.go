package main

import (
	"bufio"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
	"golang.org/x/text/width"
)

// table prints aligned columns, a block of rows at a time. On a terminal it
// keeps within the width: the widest columns are cut first.
type table struct {
	w    *bufio.Writer
	rows [][]string
	// width is that of the terminal, 0 for none.
	width int
	// whole is how many columns, from the first, are never cut; right those
	// that are aligned to the right.
	whole int
	right []int
	err   error
}

const (
	// block bounds the rows that are held back to be aligned.
	block = 1000
	// narrowest is how far a column is cut, at the most.
	narrowest = 6
	gap       = "  "
)

func newTable(w io.Writer, head ...string) *table {
	t := &table{w: bufio.NewWriter(w), width: terminalWidth(w), whole: 1}
	t.row(head...)
	return t
}

// numbers aligns columns to the right.
func (t *table) numbers(columns ...int) *table {
	t.right = columns
	return t
}

func (t *table) row(cells ...string) {
	row := make([]string, len(cells))
	for i, s := range cells {
		if row[i] = visible(s); s == "" {
			row[i] = "-"
		}
	}
	if t.rows = append(t.rows, row); len(t.rows) == block {
		t.flush()
	}
}

// end prints what is left. The error is the first of the writer.
func (t *table) end() error {
	t.flush()
	return t.err
}

func (t *table) flush() {
	if len(t.rows) == 0 {
		return
	}
	widths := t.fit()
	for _, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			cell = cut(cell, widths[i])
			pad := strings.Repeat(" ", widths[i]-cells(cell))
			switch {
			case slices.Contains(t.right, i):
				cell = pad + cell
			case i < len(row)-1:
				cell += pad
			}
			if i > 0 {
				line.WriteString(gap)
			}
			line.WriteString(cell)
		}
		line.WriteByte('\n')
		t.w.WriteString(line.String()) // its error is that of Flush
	}
	t.rows = t.rows[:0]
	if err := t.w.Flush(); t.err == nil {
		t.err = err
	}
}

// fit returns the columns' widths.
func (t *table) fit() []int {
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], cells(cell))
		}
	}
	if t.width == 0 {
		return widths
	}
	over := len(gap)*(len(widths)-1) - t.width
	for _, w := range widths {
		over += w
	}
	for ; over > 0; over-- {
		widest := -1
		for i := t.whole; i < len(widths); i++ {
			if !slices.Contains(t.right, i) && widths[i] > narrowest && (widest < 0 || widths[i] >= widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break // it is narrower than can be
		}
		widths[widest]--
	}
	return widths
}

// cut shortens a text to so many cells; an ellipsis tells of it.
func cut(s string, room int) string {
	if cells(s) <= room {
		return s
	}
	n := 0
	for i, r := range s {
		if n += runeCells(r); n > room-1 {
			return s[:i] + "…"
		}
	}
	return s
}

// cells is how many places of a terminal a visible text takes.
func cells(s string) (n int) {
	for _, r := range s {
		n += runeCells(r)
	}
	return n
}

func runeCells(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
		return 2
	}
	return 1
}

// terminalWidth is the width of the terminal that w is; 0 if it is none.
func terminalWidth(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	n, _, err := term.GetSize(int(f.Fd()))
	if err != nil || n <= 0 {
		return 80
	}
	return n
}

// isTerminal tells whether somebody sits at the other end of a stream.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// visible keeps strangers' words from steering the terminal or the table.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// copyVisible copies strangers' text for a terminal: lines stay lines, and what
// would steer it is written as an escape (\x1b, \u202e).
func copyVisible(w io.Writer, r io.Reader) error {
	in, out := bufio.NewReader(r), bufio.NewWriter(w)
	for {
		c, size, err := in.ReadRune()
		if err != nil {
			if err == io.EOF {
				err = out.Flush()
			}
			return err
		}
		switch {
		case c == utf8.RuneError && size == 1:
			_ = in.UnreadRune()
			b, _ := in.ReadByte()
			err = escape(out, rune(b))
		case c == '\r':
			// A line's end, if the LF follows.
			if next, _ := in.Peek(1); len(next) == 0 || next[0] != '\n' {
				err = escape(out, c)
			}
		case c == '\n' || c == '\t' || unicode.IsPrint(c):
			_, err = out.WriteRune(c)
		default:
			err = escape(out, c)
		}
		if err != nil {
			return err
		}
	}
}

func escape(w *bufio.Writer, c rune) error {
	const digits = "0123456789abcdef"
	text := `\x`
	shift := 4
	switch {
	case c > 0xffff:
		text, shift = `\U`, 28
	case c > 0xff:
		text, shift = `\u`, 12
	}
	for ; shift >= 0; shift -= 4 {
		text += digits[c>>shift&15 : c>>shift&15+1]
	}
	_, err := w.WriteString(text)
	return err
}
