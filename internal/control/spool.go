package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"restante/spool"
)

// Checker looks after the storage; *badger.Engine is one.
type Checker interface {
	Check(ctx context.Context, opt spool.CheckOptions) (spool.CheckReport, error)
	Losses() []spool.Loss
}

// SpoolCheck says what a check of the spool shall do.
type SpoolCheck struct {
	// Repair mends what can be mended, and moves aside what cannot.
	Repair bool `json:"repair,omitempty"`
	// Quick leaves the bodies unread.
	Quick bool `json:"quick,omitempty"`
}

// Options are those of the storage.
func (c SpoolCheck) Options(found func(spool.Finding)) spool.CheckOptions {
	return spool.CheckOptions{Repair: c.Repair, Bodies: !c.Quick, Found: found}
}

// checkLine is one line of the answer to a check; one of its fields is there.
type checkLine struct {
	Finding  *spool.Finding     `json:"finding,omitempty"`
	Progress int64              `json:"progress,omitempty"`
	Report   *spool.CheckReport `json:"report,omitempty"`
	Error    string             `json:"error,omitempty"`
}

// progressPeriod is how often a check says that it is still at work.
const progressPeriod = 2 * time.Second

func (s *Server) postCheck(w http.ResponseWriter, r *http.Request) error {
	var req SpoolCheck
	if err := s.readJSON(w, r, &req); err != nil {
		return err
	}
	if s.opt.Spool == nil {
		return errorf(CodeNotFound, "this daemon cannot check its spool")
	}
	enc := json.NewEncoder(w)
	begun := false
	var broken error
	say := func(line checkLine) {
		if !begun {
			w.Header().Set("Content-Type", "application/x-ndjson")
			begun = true
		}
		s.prolongWrite(w)
		err := enc.Encode(line)
		if err == nil {
			err = http.NewResponseController(w).Flush()
		}
		if broken == nil {
			broken = err
		}
	}
	s.log(r, "spool check begins", "repair", req.Repair)
	last := time.Now()
	opt := req.Options(func(f spool.Finding) { say(checkLine{Finding: &f}) })
	opt.Progress = func(records int64) {
		if time.Since(last) >= progressPeriod {
			last = time.Now()
			say(checkLine{Progress: records})
		}
	}
	rep, err := s.opt.Spool.Check(r.Context(), opt)
	switch {
	case err != nil && !begun:
		return err
	case err != nil:
		say(checkLine{Error: err.Error()})
	default:
		s.log(r, "spool check ended", "findings", rep.Findings, "repaired", rep.Repaired, "moved_aside", rep.MovedAside, "remaining", rep.Remaining)
		say(checkLine{Report: &rep})
	}
	if broken != nil {
		s.opt.Logger.Warn("nobody took the whole answer of a spool check", "error", broken)
	}
	return nil
}

// CheckSpool has the daemon check its spool. found, if not nil, is called with
// each finding as it comes.
func (c *Client) CheckSpool(ctx context.Context, check SpoolCheck, found func(spool.Finding)) (rep spool.CheckReport, err error) {
	err = follow(ctx, c, "/v1/spool/check", check, func(l *checkLine) (last bool, err error) {
		switch {
		case l.Error != "":
			return true, errors.New(l.Error)
		case l.Report != nil:
			rep = *l.Report
			return true, nil
		case l.Finding != nil && found != nil:
			found(*l.Finding)
		}
		return false, nil
	})
	if errors.Is(err, errBrokenOff) {
		err = fmt.Errorf("check of the spool: %w", err)
	}
	return rep, err
}
