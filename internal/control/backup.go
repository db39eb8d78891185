package control

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Backup writes a backup of the daemon's state, as one stream. since is the mark
// of the backup that it is to be an increment on, "" for a full one; the words
// are the engine's. It writes nothing before it is sure that it can.
type Backup func(ctx context.Context, w io.Writer, since string) error

func (s *Server) getBackup(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	for name, values := range q {
		if name != "since" || len(values) != 1 {
			return errorf(CodeBadRequest, "unknown or repeated parameter %q", name)
		}
	}
	if s.opt.Backup == nil {
		return errorf(CodeNotFound, "this daemon makes no backups")
	}
	out := &download{s: s, w: w}
	err := s.opt.Backup(r.Context(), out, q.Get("since"))
	if err == nil {
		s.log(r, "backup made", "octets", out.octets, "since", q.Get("since"))
		return nil
	}
	if out.octets == 0 {
		return err
	}
	s.opt.Logger.Error("backup broke off", "octets", out.octets, "error", err)
	// What has been sent must not look complete: a deadline that is over keeps
	// the end of the answer from being written, and the connection is closed.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0))
	return nil
}

// download is an answer of any length, which must not stand still for longer
// than Stall.
type download struct {
	s      *Server
	w      http.ResponseWriter
	octets int64
}

func (d *download) Write(p []byte) (int, error) {
	d.s.prolongWrite(d.w)
	if d.octets == 0 {
		d.w.Header().Set("Content-Type", "application/octet-stream")
	}
	n, err := d.w.Write(p)
	d.octets += int64(n)
	return n, err
}

// Backup writes a backup of the daemon's state to w; see Backup for since. The
// error may be one of w's.
func (c *Client) Backup(ctx context.Context, since string, w io.Writer) error {
	q := url.Values{}
	if since != "" {
		q.Set("since", since)
	}
	resp, err := c.send(ctx, "GET", "/v1/spool/backup", q, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("backup broke off: %w", err)
	}
	return nil
}
