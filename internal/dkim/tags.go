package dkim

import (
	"errors"
	"strings"
)

// maxTags bounds the tags of one list; RFC 6376 defines a dozen.
const maxTags = 64

var errTags = errors.New("malformed tag list")

// parseTags reads a tag list (RFC 6376 section 3.2). Values keep the white
// space inside them.
func parseTags(s string) (map[string]string, error) {
	tags := make(map[string]string)
	for tag := range strings.SplitSeq(s, ";") {
		name, value, ok := strings.Cut(tag, "=")
		if name = trim(name); !ok {
			if name == "" {
				continue // after the last semicolon, mostly
			}
			return nil, errTags
		}
		if _, twice := tags[name]; twice || !isTagName(name) || len(tags) == maxTags {
			return nil, errTags
		}
		tags[name] = trim(value)
	}
	return tags, nil
}

func trim(s string) string { return strings.Trim(s, " \t\r\n") }

func isTagName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != ""
}

// list splits a value at its colons.
func list(value string) []string {
	return strings.Split(stripSpace(value), ":")
}
