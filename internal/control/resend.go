package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"restante/internal/mail"
	"restante/internal/resend"
	"restante/spool"
)

// Resender sends stored mail again; *resend.Sender is one.
type Resender interface {
	Letters() iter.Seq2[resend.Letter, error]
	Letter(uid spool.UID) (resend.Letter, error)
	Resend(ctx context.Context, uid spool.UID, to []mail.Address, again bool) (resend.Sent, error)
	RemoveLetter(uid spool.UID) (resend.Letter, error)
	Replay(ctx context.Context, r resend.Replay, each func(resend.Item, resend.Counts)) (resend.Counts, error)
}

// ResendLetter says how a dead letter is sent again.
type ResendLetter struct {
	// To, if there are any, get it instead of those who did not.
	To []mail.Address `json:"to,omitempty"`
	// Again sends one that has been sent again before.
	Again bool `json:"again,omitempty"`
}

func (s *Server) resender() (Resender, error) {
	if s.opt.Resend == nil {
		return nil, errorf(CodeNotFound, "this daemon sends nothing again")
	}
	return s.opt.Resend, nil
}

// getLetters streams the dead letters as one JSON array.
func (s *Server) getLetters(w http.ResponseWriter, r *http.Request) error {
	again, err := s.resender()
	if err != nil {
		return err
	}
	l := NewList(w)
	n := 0
	for letter, err := range again.Letters() {
		if err != nil && n == 0 {
			return err
		}
		if err != nil {
			s.opt.Logger.Error("listing of dead letters broke off", "error", err)
			return nil // the array stays open
		}
		if n++; n == 1 {
			w.Header().Set("Content-Type", "application/json")
		}
		s.prolongWrite(w)
		if l.Add(letter) != nil || r.Context().Err() != nil {
			return nil // the peer has gone
		}
	}
	if n == 0 {
		w.Header().Set("Content-Type", "application/json")
	}
	_ = l.End()
	return nil
}

// letter is who knows of dead letters, and the number in a request's path.
func (s *Server) letter(r *http.Request) (Resender, spool.UID, error) {
	again, err := s.resender()
	if err != nil {
		return nil, 0, err
	}
	n, err := strconv.ParseUint(r.PathValue("uid"), 10, 32)
	if err != nil || n == 0 {
		return nil, 0, errorf(CodeBadRequest, "%q is no number of a dead letter", r.PathValue("uid"))
	}
	return again, spool.UID(n), nil
}

func (s *Server) getLetter(w http.ResponseWriter, r *http.Request) error {
	again, uid, err := s.letter(r)
	if err != nil {
		return err
	}
	l, err := again.Letter(uid)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, l)
	return nil
}

func (s *Server) deleteLetter(w http.ResponseWriter, r *http.Request) error {
	again, uid, err := s.letter(r)
	if err != nil {
		return err
	}
	l, err := again.RemoveLetter(uid)
	if err != nil {
		return err
	}
	for _, rcpt := range l.Recipients {
		s.log(r, "dead letter removed", "id", l.Message.String(), "uid", uint32(uid), "from", l.From.String(), "to", rcpt.To.String(), "status", rcpt.Reason)
	}
	writeJSON(w, http.StatusOK, l)
	return nil
}

func (s *Server) postLetter(w http.ResponseWriter, r *http.Request) error {
	again, uid, err := s.letter(r)
	if err != nil {
		return err
	}
	var req ResendLetter
	if err := s.readJSON(w, r, &req); err != nil {
		return err
	}
	sent, err := again.Resend(r.Context(), uid, req.To, req.Again)
	if err != nil {
		return err
	}
	s.log(r, "dead letter sent again", "uid", uint32(uid), "id", sent.ID.String(), "recipients", sent.Recipients)
	s.prolongWrite(w)
	writeJSON(w, http.StatusCreated, sent)
	return nil
}

// replayLine is one line of the answer to a replay; one of its fields is there.
type replayLine struct {
	Item     *resend.Item   `json:"item,omitempty"`
	Progress *resend.Counts `json:"progress,omitempty"`
	Report   *resend.Counts `json:"report,omitempty"`
	Error    string         `json:"error,omitempty"`
}

// postReplay replays and tells of each message as it goes. It ends when the
// peer goes: started again it goes on.
func (s *Server) postReplay(w http.ResponseWriter, r *http.Request) error {
	again, err := s.resender()
	if err != nil {
		return err
	}
	var req resend.Replay
	if err := s.readJSON(w, r, &req); err != nil {
		return err
	}
	enc, begun := json.NewEncoder(w), false
	say := func(line replayLine) {
		if !begun {
			w.Header().Set("Content-Type", "application/x-ndjson")
			begun = true
		}
		s.prolongWrite(w)
		_ = enc.Encode(line) // a peer that has gone ends the context
	}
	last := time.Now()
	counts, err := again.Replay(r.Context(), req, func(item resend.Item, c resend.Counts) {
		say(replayLine{Item: &item})
		if time.Since(last) >= progressPeriod {
			last = time.Now()
			say(replayLine{Progress: &c})
			_ = http.NewResponseController(w).Flush()
		}
	})
	if !req.DryRun {
		s.log(r, "replay", "owner", req.Owner.String(), "mailbox", req.Mailbox, "name", req.Name,
			"sent", counts.Sent, "before", counts.Before, "failed", counts.Failed, "error", err)
	}
	switch {
	case err != nil && !begun:
		return err
	case err != nil:
		say(replayLine{Error: err.Error()})
	default:
		say(replayLine{Report: &counts})
	}
	return nil
}

// Letters returns the dead letters, the oldest first.
func (c *Client) Letters(ctx context.Context) ([]resend.Letter, error) {
	var list []resend.Letter
	err := c.call(ctx, "GET", "/v1/deadletters", nil, nil, &list)
	return list, err
}

// Letter returns one, with the header of the message.
func (c *Client) Letter(ctx context.Context, uid spool.UID) (resend.Letter, error) {
	var l resend.Letter
	err := c.call(ctx, "GET", letterPath(uid), nil, nil, &l)
	return l, err
}

// ResendLetter sends one again.
func (c *Client) ResendLetter(ctx context.Context, uid spool.UID, how ResendLetter) (resend.Sent, error) {
	var sent resend.Sent
	err := c.call(ctx, "POST", letterPath(uid)+"/resend", nil, how, &sent)
	return sent, err
}

// RemoveLetter removes one for good.
func (c *Client) RemoveLetter(ctx context.Context, uid spool.UID) (resend.Letter, error) {
	var l resend.Letter
	err := c.call(ctx, "DELETE", letterPath(uid), nil, nil, &l)
	return l, err
}

func letterPath(uid spool.UID) string {
	return "/v1/deadletters/" + url.PathEscape(strconv.FormatUint(uint64(uid), 10))
}

// Replay has an archive sent again. each, if it is not nil, is told of every
// message, progress of how far it has come.
func (c *Client) Replay(ctx context.Context, r resend.Replay, each func(resend.Item), progress func(resend.Counts)) (counts resend.Counts, err error) {
	err = follow(ctx, c, "/v1/replay", r, func(l *replayLine) (last bool, err error) {
		switch {
		case l.Error != "":
			return true, fmt.Errorf("the replay ended early: %s; started again it goes on", l.Error)
		case l.Report != nil:
			counts = *l.Report
			return true, nil
		case l.Item != nil && each != nil:
			each(*l.Item)
		case l.Progress != nil && progress != nil:
			progress(*l.Progress)
		}
		return false, nil
	})
	if errors.Is(err, errBrokenOff) {
		err = fmt.Errorf("replay: %w; started again it goes on", err)
	}
	return counts, err
}
