package control

import (
	"encoding/json"
	"fmt"
	"io"
)

// List writes a JSON array element by element, so that a long one need not be
// in memory. One that is not ended is not valid JSON.
type List struct {
	w     io.Writer
	count int
}

// NewList returns a List that writes to w; nothing is written before the first
// Add or End.
func NewList(w io.Writer) *List { return &List{w: w} }

// Add writes an element.
func (l *List) Add(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	before := ",\n"
	if l.count == 0 {
		before = "["
	}
	l.count++
	_, err = fmt.Fprintf(l.w, "%s%s", before, b)
	return err
}

// End closes the array.
func (l *List) End() error {
	end := "]\n"
	if l.count == 0 {
		end = "[]\n"
	}
	_, err := io.WriteString(l.w, end)
	return err
}
