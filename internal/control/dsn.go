package control

import (
	"strings"

	"restante/internal/mail"
)

// The names of DSN's parameters (RFC 3461 section 4), in lower case.
var notifyWords = []struct {
	name string
	bit  mail.Notify
}{
	{"never", mail.NotifyNever},
	{"success", mail.NotifySuccess},
	{"failure", mail.NotifyFailure},
	{"delay", mail.NotifyDelay},
}

func notifyNames(n mail.Notify) []string {
	var names []string
	for _, w := range notifyWords {
		if n&w.bit != 0 {
			names = append(names, w.name)
		}
	}
	return names
}

func parseNotify(words []string) (mail.Notify, error) {
	var n mail.Notify
next:
	for _, word := range words {
		for _, w := range notifyWords {
			if strings.EqualFold(word, w.name) {
				n |= w.bit
				continue next
			}
		}
		return 0, errorf(CodeBadRequest, "notify: %q is none of never, success, failure, delay", word)
	}
	if n&mail.NotifyNever != 0 && n != mail.NotifyNever {
		return 0, errorf(CodeBadRequest, "notify: never excludes the others")
	}
	return n, nil
}

func retName(r mail.Return) string {
	switch r {
	case mail.ReturnFull:
		return "full"
	case mail.ReturnHeaders:
		return "hdrs"
	}
	return ""
}

func parseRet(s string) (mail.Return, error) {
	switch strings.ToLower(s) {
	case "":
		return mail.ReturnUnspecified, nil
	case "full":
		return mail.ReturnFull, nil
	case "hdrs":
		return mail.ReturnHeaders, nil
	}
	return 0, errorf(CodeBadRequest, "ret: %q is neither full nor hdrs", s)
}
