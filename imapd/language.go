package imapd

import (
	"strings"

	"restante/imapd/wire"
)

// The languages of our texts (RFC 5255 section 3): English, which is what
// i-default is, too.
const (
	english  = "en"
	iDefault = "i-default"
)

// parseLanguage reads LANGUAGE. There is nothing to switch: it tells what there
// is, or agrees.
func (s *session) parseLanguage(d *wire.Decoder, _ call) action {
	var ranges []string
	for d.Err() == nil && d.TrySpace() {
		ranges = append(ranges, d.AString())
	}
	return func() error {
		if len(ranges) == 0 {
			s.out.Raw("* LANGUAGE (").String(english).Raw(" ").String(iDefault).Raw(")").CRLF()
			return nil
		}
		for _, r := range ranges {
			if language, ok := speaks(r); ok {
				s.out.Raw("* LANGUAGE (").String(language).Raw(")").CRLF()
				return nil
			}
		}
		return no("", "None of these languages is spoken here")
	}
}

// speaks looks a language range up (RFC 4647 section 3.4).
func speaks(r string) (string, bool) {
	if r == "*" || strings.EqualFold(r, "default") {
		return iDefault, true
	}
	for {
		for _, l := range []string{english, iDefault} {
			if strings.EqualFold(r, l) {
				return l, true
			}
		}
		i := strings.LastIndexByte(r, '-')
		if i < 0 {
			return "", false
		}
		r = r[:i]
	}
}
