package control

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"restante/internal/header"
	"restante/internal/mail"
	"restante/spool"
)

// shownHeader is how much of a header GET /v1/messages/{id} returns, in octets.
const shownHeader = 64 << 10

func (s *Server) getMessage(w http.ResponseWriter, r *http.Request) error {
	id, err := mail.ParseID(strings.ToUpper(r.PathValue("id")))
	if err != nil {
		return err
	}
	info, err := s.opt.Bodies.Stat(id)
	if errors.Is(err, spool.ErrNotFound) {
		return errorf(CodeNotFound, "no message %s in the spool", id)
	}
	if err != nil {
		return err
	}
	m := Message{
		ID: id, Size: info.Size, Hash: hex.EncodeToString(info.Hash[:]),
		References: info.References, Envelope: viewEnvelope(info.Envelope), Tasks: []Task{},
	}
	tasks, err := s.opt.Queue.MessageTasks(id)
	if err != nil && !errors.Is(err, spool.ErrNotFound) {
		return err
	}
	backoffs, err := s.backoffs()
	if err != nil {
		return err
	}
	for _, t := range tasks {
		m.Tasks = append(m.Tasks, viewTask(t, backoffs[t.Destination]))
	}
	if m.Header, m.HeaderCut, err = s.header(id); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, m)
	return nil
}

// header reads the front of a stored body.
func (s *Server) header(id mail.ID) (text string, cut bool, err error) {
	body, err := s.opt.Bodies.OpenBody(id)
	if err != nil {
		return "", false, err
	}
	defer body.Close()
	buf := make([]byte, min(shownHeader, body.Size()))
	if _, err := body.ReadAt(buf, 0); err != nil && err != io.EOF {
		return "", false, fmt.Errorf("read header of %s: %w", id, err)
	}
	b := header.Parse(buf)
	cut = !b.Separated() && body.Size() > int64(len(buf))
	return strings.ToValidUTF8(string(b.Raw()), "\uFFFD"), cut, nil
}
