package control

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
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

// getContent answers with a message, octet by octet as it is stored.
func (s *Server) getContent(w http.ResponseWriter, r *http.Request) error {
	id, err := mail.ParseID(strings.ToUpper(r.PathValue("id")))
	if err != nil {
		return err
	}
	body, err := s.opt.Bodies.OpenBody(id)
	if errors.Is(err, spool.ErrNotFound) {
		return errorf(CodeNotFound, "no message %s in the spool", id)
	}
	if err != nil {
		return err
	}
	defer body.Close()
	w.Header().Set("Content-Type", "message/rfc822")
	w.Header().Set("Content-Length", strconv.FormatInt(body.Size(), 10))
	return s.copyBody(w, body)
}

// copyBody sends a body. One that breaks off is shorter than was said, which
// the peer notices.
func (s *Server) copyBody(w http.ResponseWriter, body spool.Body) error {
	buf := make([]byte, 64<<10)
	for at := int64(0); at < body.Size(); {
		n, err := body.ReadAt(buf[:min(int64(len(buf)), body.Size()-at)], at)
		if n == 0 && err != nil {
			if at == 0 {
				w.Header().Del("Content-Length")
				return fmt.Errorf("read message: %w", err)
			}
			s.opt.Logger.Error("a message cannot be read to its end", "error", err)
			panic(http.ErrAbortHandler) // what is missing must not look like an end
		}
		s.prolongWrite(w)
		if _, err := w.Write(buf[:n]); err != nil {
			return nil // the peer has gone
		}
		at += int64(n)
	}
	return nil
}

// Content returns a message as it is stored; the caller closes it. Its reads
// fail if it breaks off.
func (c *Client) Content(ctx context.Context, id mail.ID) (io.ReadCloser, error) {
	resp, err := c.send(ctx, "GET", "/v1/messages/"+id.String()+"/content", nil, nil, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// header is the front of a stored body as text.
func (s *Server) header(id mail.ID) (text string, cut bool, err error) {
	b, size, err := s.readHeader(id)
	if err != nil {
		return "", false, err
	}
	cut = !b.Separated() && size > int64(len(b.Raw()))
	return strings.ToValidUTF8(string(b.Raw()), "\uFFFD"), cut, nil
}

func (s *Server) headerOf(id mail.ID) (*header.Block, error) {
	b, _, err := s.readHeader(id)
	return b, err
}

// readHeader reads the header of a stored body, or shownHeader of it, and
// returns the size of all.
func (s *Server) readHeader(id mail.ID) (*header.Block, int64, error) {
	body, err := s.opt.Bodies.OpenBody(id)
	if err != nil {
		return nil, 0, err
	}
	defer body.Close()
	buf := make([]byte, min(shownHeader, body.Size()))
	if _, err := body.ReadAt(buf, 0); err != nil && err != io.EOF {
		return nil, 0, fmt.Errorf("read header of %s: %w", id, err)
	}
	return header.Parse(buf), body.Size(), nil
}
