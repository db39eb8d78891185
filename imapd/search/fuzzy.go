package search

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"

	"restante/imapd/casemap"
)

// How well a message was found (RFC 6203 section 4), from 1 to 100.
const (
	// Exact: as it was asked for, but for accents.
	Exact = 100
	// Apart: its words are all there, somewhere.
	Apart = 50
)

// fuzzy is what a fuzzy key looks for (RFC 6203): words, in any order, whatever
// their accents.
type fuzzy struct {
	words  []string
	phrase string
}

func newFuzzy(s string) fuzzy {
	f := fuzzy{phrase: strings.TrimSpace(s)}
	f.words = strings.FieldsFunc(f.phrase, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r) })
	if len(f.words) == 0 {
		f.words = []string{f.phrase}
	}
	return f
}

// score tells how well a text has it; 0 is not at all.
func (f fuzzy) score(text string) uint8 {
	text = casemap.Unmarked(text)
	if strings.Contains(text, casemap.Unmarked(f.phrase)) {
		return Exact
	}
	for _, w := range f.words {
		if !strings.Contains(text, casemap.Unmarked(w)) {
			return 0
		}
	}
	return Apart
}

// scored tells a message how well it was found.
func scored(m Message, score uint8) bool {
	if score > 0 {
		m.Found(score)
	}
	return score > 0
}

// FuzzyField is Field that takes the words in any order.
func FuzzyField(name, value string) Key {
	f := newFuzzy(value)
	return Key{Cost: fieldCost(name), match: func(m Message) (bool, error) {
		best := uint8(0)
		_, err := fieldTexts(name, m, func(text string) bool {
			best = max(best, f.score(text))
			return best == Exact
		})
		return scored(m, best) && err == nil, err
	}}
}

// FuzzyText is Body, or with the header Anywhere, that takes the words in any
// order.
func FuzzyText(s string, header bool) Key {
	f := newFuzzy(s)
	return Key{Cost: Text, match: func(m Message) (bool, error) {
		st, err := m.Structure()
		if err != nil {
			return false, fmt.Errorf("search text: %w", err)
		}
		wanted := &needles{unmarked: true}
		for _, w := range append(f.words[:len(f.words):len(f.words)], f.phrase) {
			wanted.add(w)
		}
		if header {
			words, err := headerText(m)
			if err != nil {
				return false, err
			}
			if err := wanted.search(strings.NewReader(words)); err != nil {
				return false, fmt.Errorf("search header: %w", err)
			}
		}
		if err := searchPart(st.Root, m, wanted); err != nil {
			return false, fmt.Errorf("search text: %w", err)
		}
		switch {
		case wanted.allFound():
			return scored(m, Exact), nil
		case len(f.words) > 1 && len(wanted.left) == 1 && bytes.Equal(wanted.left[0], []byte(wanted.fold(f.phrase))):
			return scored(m, Apart), nil
		}
		return false, nil
	}}
}
