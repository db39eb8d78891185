package wire

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

// literal is what a line announces at its end: {5}, {5+} or ~{5}.
type literal struct {
	announced bool
	size      int64
	// sync: the client waits to be asked for it.
	sync bool
	// message: it is the message of an APPEND.
	message bool
	// tail must follow the message: "" or, after UTF8 (~{5}, ")" (RFC 6855).
	tail string
}

// announce looks for a literal at the end of a line of the command.
func (cmd *command) announce(line []byte) {
	first := cmd.size == len(line)
	cmd.lit, cmd.left = literal{}, 0
	text := trimEnd(line)
	open := strings.LastIndexByte(text, '{')
	if open < 0 || !strings.HasSuffix(text, "}") || !quotesClosed(line) {
		return
	}
	digits, plus := strings.CutSuffix(text[open+1:len(text)-1], "+")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return
	}
	size, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		size = math.MaxInt64
	}
	cmd.left = size
	cmd.lit = literal{announced: true, size: size, sync: !plus}
	// The mailbox's name may be a literal of its own, the first thing after
	// the verb.
	before := strings.TrimRight(text[:open], " ")
	if cmd.verb == "APPEND" && !(first && len(before) <= len(cmd.tag)+1+len(cmd.verb)) {
		cmd.lit.message = true
		if strings.HasSuffix(before, "(~") {
			cmd.lit.tail = ")"
		}
	}
}

// tooLarge tells whether the literal that is announced must be refused.
func (cmd *command) tooLarge() bool {
	return cmd.lit.announced && !cmd.lit.message &&
		(cmd.lit.size > MaxLiteral || int64(cmd.size)+cmd.lit.size > MaxLine)
}

// words returns the tag and the verb, in upper case; each is "" if it is not
// what it has to be.
func words(line []byte) (tag, verb string) {
	tag, rest, ok := strings.Cut(trimEnd(line), " ")
	if !isAtom(tag) || strings.Contains(tag, "+") || len(tag) > 128 {
		return "", ""
	}
	verb, _, _ = strings.Cut(rest, " ")
	if !ok || !isAtom(verb) {
		return tag, ""
	}
	return tag, strings.ToUpper(verb)
}

// isAtom follows atom of RFC 9051 section 9.
func isAtom(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`(){%*"\]`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// quotesClosed tells whether every quoted string of a line ends in it.
func quotesClosed(line []byte) bool {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '"':
			quoted = !quoted
		case line[i] == '\\' && quoted:
			i++
		}
	}
	return !quoted
}

// trimEnd takes the line end off, and the one blank before it that the library
// overlooks too.
func trimEnd(line []byte) string {
	line = bytes.TrimSuffix(line, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	return string(bytes.TrimSuffix(line, []byte(" ")))
}

func isBlank(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }
