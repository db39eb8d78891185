package milter

import (
	"strconv"
	"strings"

	"restante/internal/mail"
)

// maxText is the longest text of a reply; a reply line has 512 octets (RFC 5321
// section 4.5.3.1.5).
const maxText = 400

// parseReply reads a reply in full, "550 5.7.1 text", of one or more lines.
// Closing the connection is not the filter's to decide, so 421 becomes 451.
func parseReply(s string) (mail.Status, error) {
	var status mail.Status
	var texts []string
	for line := range strings.Lines(s) {
		line = strings.TrimRight(line, "\r\n")
		code, text, ok := cutCode(line)
		if !ok || status.Code != 0 && code != status.Code {
			return mail.Status{}, protocolError("a reply of %.40q", line)
		}
		status.Code = code
		enhanced, rest, ok := cutEnhanced(text, code/100)
		if ok && status.Enhanced == [3]int{} {
			status.Enhanced = enhanced
		}
		if rest = oneLine(rest); rest != "" {
			texts = append(texts, rest)
		}
	}
	switch {
	case status.Code == 0:
		return mail.Status{}, protocolError("an empty reply")
	case status.Code == 421:
		status.Code = 451
	}
	status.Text = strings.Join(texts, " ")
	if len(status.Text) > maxText {
		status.Text = status.Text[:maxText]
	}
	if status.Text == "" {
		status.Text = "Refused by a mail filter"
	}
	return status, nil
}

// cutCode takes a reply code of a refusal off a line.
func cutCode(line string) (code int, rest string, ok bool) {
	if len(line) < 3 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		return 0, "", false
	}
	code, err := strconv.Atoi(line[:3])
	if err != nil || code < 400 || code > 599 {
		return 0, "", false
	}
	return code, line[min(4, len(line)):], true
}

// cutEnhanced takes an enhanced status code (RFC 3463) off a text. One of
// another class than the reply's is taken off and not ok.
func cutEnhanced(text string, class int) (enhanced [3]int, rest string, ok bool) {
	word, rest, _ := strings.Cut(text, " ")
	parts := strings.Split(word, ".")
	if len(parts) != 3 {
		return [3]int{}, text, false
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n > 999 {
			return [3]int{}, text, false
		}
		enhanced[i] = int(n)
	}
	if enhanced[0] != class {
		return [3]int{}, rest, false
	}
	return enhanced, rest, true
}

// oneLine makes printable ASCII of a text.
func oneLine(s string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\r' || r == '\n':
			return ' '
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, s)
	return strings.TrimSpace(clean[:min(len(clean), maxText)])
}
