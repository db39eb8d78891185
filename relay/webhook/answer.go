package webhook

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"restante/internal/mail"
)

const (
	// maxAnswer bounds what is read of an answer, in octets: results for all
	// recipients that a message can have.
	maxAnswer = 1 << 20
	// maxText bounds what is kept of its words, in octets.
	maxText = 300
	// maxID bounds the name that a program gives a message, in octets.
	maxID = 128
)

// verdict is what a request came to.
type verdict struct {
	// status is for all recipients that have none in results.
	status  mail.Status
	results []result
	// id is what the program calls the message.
	id string
	// unreached charges the failure to the destination; elsewhere tells that
	// another URL may do better, ours that it says nothing of the destination.
	unreached, elsewhere, ours bool
	// begun tells that a part of the message was sent.
	begun      bool
	retryAfter time.Duration
}

// result is what a program says of one recipient.
type result struct {
	to     mail.Address
	status mail.Status
}

// answer is the JSON that a program may answer with. All of it is optional.
type answer struct {
	ID      string `json:"id"`
	Text    string `json:"text"`
	Results []struct {
		To       string `json:"to"`
		Code     int    `json:"code"`
		Enhanced string `json:"enhanced"`
		Text     string `json:"text"`
	} `json:"results"`
}

// readAnswer reads what is looked at of an answer.
func readAnswer(r io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(r, maxAnswer)) }

// judge is the verdict on an answer.
func (p *posting) judge(code int, retryAfter string, text []byte, now time.Time) verdict {
	words, results, id, ok := parseAnswer(text)
	v := verdict{results: results, id: id, begun: p.begun.Load()}
	for i := range v.results {
		v.results[i].status.Remote = p.remote()
	}
	said := strings.TrimSpace(fmt.Sprintf("HTTP %d %s", code, http.StatusText(code)))
	if words != "" {
		said += ": " + words
	}
	status := func(code int, enhanced ...int) mail.Status {
		return mail.Status{Code: code, Enhanced: [3]int(enhanced), Text: said, Remote: p.remote()}
	}
	switch {
	case code/100 == 2 && !ok:
		v.status = status(451, 4, 3, 0)
		v.status.Text = "the webhook answered with results that cannot be read"
	case code/100 == 2:
		v.status = status(250, 2, 0, 0)
	case code == http.StatusTooManyRequests, code == http.StatusBadGateway, code == http.StatusServiceUnavailable, code == http.StatusGatewayTimeout:
		v.status, v.unreached, v.elsewhere = status(451, 4, 3, 2), true, true
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusProxyAuthRequired:
		// Not a word on the message: a key that was changed on one side only.
		v.status, v.unreached, v.elsewhere = status(451, 4, 7, 8), true, true
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed, code < 400:
		// A program that is not there, or has moved: redirects are not followed.
		v.status, v.unreached, v.elsewhere = status(451, 4, 4, 4), true, true
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code >= 500:
		v.status = status(451, 4, 3, 0)
	case code == http.StatusRequestEntityTooLarge:
		v.status = status(552, 5, 3, 4)
	default:
		v.status = status(554, 5, 6, 0)
	}
	if len(v.results) > 0 {
		// It is the program that speaks, whatever the code.
		v.unreached, v.elsewhere = false, false
	}
	if v.status.Code == 451 {
		v.retryAfter = parseRetryAfter(retryAfter, now)
	}
	return v
}

// parseAnswer reads the words of an answer: of JSON what it says, of plain text
// the first line, of a page nothing. It is not ok if there are results that
// cannot be read; all else is understood as well as it can be.
func parseAnswer(text []byte) (words string, results []result, id string, ok bool) {
	s := strings.TrimSpace(string(text))
	if !strings.HasPrefix(s, "{") {
		line, _, _ := strings.Cut(s, "\n")
		if strings.HasPrefix(line, "<") {
			return "", nil, "", true
		}
		return mail.Line(line, maxText), nil, "", true
	}
	var a answer
	if json.Unmarshal([]byte(s), &a) != nil {
		return "", nil, "", !strings.Contains(s, `"results"`)
	}
	for _, r := range a.Results {
		to, err := mail.ParseAddress(strings.Trim(r.To, "<> "))
		if err != nil {
			return "", nil, "", false
		}
		s := mail.Status{Code: r.Code, Text: mail.Line(r.Text, maxText)}
		if c := r.Code / 100; c != 2 && c != 4 && c != 5 {
			// Anything short of a definite word means that it is tried again.
			s = mail.Status{Code: 451, Enhanced: [3]int{4, 3, 0}, Text: fmt.Sprintf("the webhook answered with the code %d", r.Code)}
		} else {
			s.Enhanced = [3]int{c, 0, 0}
			if code, ok := mail.ParseEnhanced(r.Enhanced); ok && code[0] == c {
				s.Enhanced = code
			}
		}
		results = append(results, result{to, s})
	}
	if len(a.ID) <= maxID {
		id = mail.Line(a.ID, maxText)
	}
	return mail.Line(a.Text, maxText), results, id, true
}

// parseRetryAfter reads Retry-After (RFC 9110 section 10.2.3): seconds, or a
// time. 0 is none.
func parseRetryAfter(s string, now time.Time) time.Duration {
	const most = 7 * 24 * time.Hour
	if n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, most)
	}
	if at, err := http.ParseTime(s); err == nil {
		return min(max(at.Sub(now), 0), most)
	}
	return 0
}
