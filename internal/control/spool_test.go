package control

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"restante/spool"
)

// checker finds what it is told to.
type checker struct {
	findings []spool.Finding
	err      error
	got      spool.CheckOptions
}

func (c *checker) Check(_ context.Context, opt spool.CheckOptions) (spool.CheckReport, error) {
	c.got = opt
	for _, f := range c.findings {
		opt.Found(f)
	}
	return spool.CheckReport{Findings: len(c.findings), Rounds: 1}, c.err
}

func (c *checker) Losses() []spool.Loss {
	return []spool.Loss{{First: 3, Last: 7, To: time.Unix(1, 0).UTC(), Found: time.Unix(2, 0).UTC()}}
}

func postCheck(s *Server, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/v1/spool/check", strings.NewReader(body))
	if err := s.postCheck(w, r); err != nil {
		writeError(w, toError(err))
	}
	return w
}

func TestSpoolCheck(t *testing.T) {
	c := &checker{findings: []spool.Finding{{Kind: "body", Key: "message X", What: "torn", Action: spool.ActionMovedAside}}}
	s := New(Options{Spool: c})
	w := postCheck(s, `{"repair":true,"quick":true}`)
	lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	if w.Code != 200 || len(lines) != 2 || !strings.HasPrefix(lines[0], `{"finding":{"kind":"body"`) || !strings.HasPrefix(lines[1], `{"report":{`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if !c.got.Repair || c.got.Bodies {
		t.Errorf("options %+v", c.got)
	}
	c.err = errors.New("disk on fire")
	if w := postCheck(s, `{}`); !strings.Contains(w.Body.String(), `{"error":"disk on fire"}`) || !c.got.Bodies || c.got.Repair {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	c.findings, c.err = nil, spool.ErrChecking
	if w := postCheck(s, `{}`); w.Code != http.StatusConflict {
		t.Errorf("a second check: %d %s", w.Code, w.Body)
	}
	if w := postCheck(s, `{"repare":true}`); w.Code != http.StatusBadRequest {
		t.Errorf("a typo: %d %s", w.Code, w.Body)
	}
}
