package structure

import (
	"strconv"
	"strings"
	"time"
)

// parseDate understands the date-time of RFC 5322 sections 3.3 and 4.3 and what
// is near it: parts in another order (asctime), missing seconds, zones by name,
// two-digit years, comments. Zero if there is no day, month and year. A date
// without a zone is in UTC.
func parseDate(s string) time.Time {
	var d dateParts
	s = withoutComments(s)
	for word := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' }) {
		d.take(word)
	}
	return d.time()
}

// withoutComments drops what is in parentheses.
func withoutComments(s string) string {
	if !strings.Contains(s, "(") {
		return s
	}
	depth := 0
	return strings.Map(func(r rune) rune {
		switch {
		case r == '(':
			depth++
		case r == ')' && depth > 0:
			depth--
			return ' '
		}
		if depth > 0 {
			return -1
		}
		return r
	}, s)
}

type dateParts struct {
	year, month, day int
	hour, min, sec   int
	zone             int // seconds east of UTC
}

// take puts a word where it belongs by its looks.
func (d *dateParts) take(word string) {
	switch {
	case strings.Contains(word, ":"):
		d.takeClock(word)
	case word[0] == '+' || word[0] == '-' && d.day > 0 && d.month > 0:
		d.takeZone(word)
	case strings.Count(word, "-") == 2: // 1-Apr-2024 and 2024-04-01
		for part := range strings.SplitSeq(word, "-") {
			if part != "" {
				d.take(part)
			}
		}
	case word[0] >= '0' && word[0] <= '9':
		d.takeNumber(word)
	default:
		d.takeName(word)
	}
}

func (d *dateParts) takeNumber(word string) {
	n, err := strconv.ParseUint(word, 10, 16)
	switch {
	case err != nil:
	case len(word) == 4 && d.year == 0 && n > 0:
		d.year = int(n)
	case d.day == 0 && (d.year == 0 || d.month > 0) && n <= 31:
		d.day = int(n)
	case d.month == 0 && n <= 12:
		d.month = int(n)
	case d.year == 0 && len(word) == 2 && n < 50: // RFC 5322 section 4.3
		d.year = 2000 + int(n)
	case d.year == 0 && (len(word) == 2 || len(word) == 3):
		d.year = 1900 + int(n)
	}
}

func (d *dateParts) takeClock(word string) {
	// "09:24:11+0200" and "09:24:11Z" occur as well.
	if i := strings.IndexAny(word, "+-Zz"); i > 0 {
		d.takeZone(word[i:])
		word = word[:i]
	}
	clock := [3]*int{&d.hour, &d.min, &d.sec}
	for i, part := range strings.SplitN(word, ":", 3) {
		part, _, _ = strings.Cut(part, ".")
		if n, err := strconv.ParseUint(part, 10, 8); err == nil {
			*clock[i] = int(n)
		}
	}
}

func (d *dateParts) takeZone(word string) {
	digits := strings.ReplaceAll(word[1:], ":", "")
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || len(digits) != 4 || n >= 2400 || n%100 >= 60 {
		return
	}
	d.zone = int(n/100*60+n%100) * 60
	if word[0] == '-' {
		d.zone = -d.zone
	}
}

func (d *dateParts) takeName(word string) {
	if len(word) >= 3 {
		const months = "janfebmaraprmayjunjulaugsepoctnovdec"
		if i := strings.Index(months, strings.ToLower(word[:3])); i >= 0 && i%3 == 0 {
			if d.month == 0 {
				d.month = i/3 + 1
			}
			return
		}
	}
	// RFC 5322 section 4.3; other names, military ones too, are taken for UTC.
	const zones = "EST-5 EDT-4 CST-6 CDT-5 MST-7 MDT-6 PST-8 PDT-7 CET+1 CEST+2 BST+1 JST+9"
	for zone := range strings.SplitSeq(zones, " ") {
		name, sign := zone[:len(zone)-2], zone[len(zone)-2]
		if strings.EqualFold(name, word) {
			d.zone = int(zone[len(zone)-1]-'0') * 3600
			if sign == '-' {
				d.zone = -d.zone
			}
		}
	}
}

// time puts the parts together. Years that no mail was sent in are mistakes.
func (d *dateParts) time() time.Time {
	if d.year < 1900 || d.year > 9998 || d.month == 0 || d.day == 0 || d.hour > 23 || d.min > 59 || d.sec > 60 {
		return time.Time{}
	}
	day := time.Date(d.year, time.Month(d.month), d.day, 0, 0, 0, 0, time.UTC)
	if day.Day() != d.day {
		return time.Time{} // such as 31 April
	}
	return time.Date(d.year, time.Month(d.month), d.day, d.hour, d.min, d.sec, 0, time.FixedZone("", d.zone))
}
