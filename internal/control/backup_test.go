package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// fakeBackup does what since says.
func fakeBackup(_ context.Context, w io.Writer, since string) error {
	block := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
	switch since {
	case "another spool's":
		return errorf(CodeConflict, "no")
	case "cut off", "cut off early":
		if since == "cut off early" {
			block = block[:100]
		}
		_, err := w.Write(block)
		return errors.Join(err, errors.New("the disk is gone"))
	}
	for range 10 {
		if _, err := w.Write(block); err != nil {
			return err
		}
	}
	return nil
}

func TestBackup(t *testing.T) {
	h := newHouse(t)
	var out bytes.Buffer
	if err := h.client.Backup(t.Context(), "", &out); err != nil || out.Len() != 10*64<<10 {
		t.Errorf("%d octets, %v", out.Len(), err)
	}
	wantCode(t, h.client.Backup(t.Context(), "another spool's", io.Discard), CodeConflict)
	for _, since := range []string{"cut off", "cut off early"} {
		if err := h.client.Backup(t.Context(), since, io.Discard); err == nil {
			t.Errorf("%s: no error", since)
		}
		if !strings.Contains(h.log.String(), "the disk is gone") {
			t.Error("the log does not say why")
		}
	}
	resp, err := h.client.send(t.Context(), http.MethodGet, "/v1/spool/backup", url.Values{"sinse": {"x"}}, nil, nil)
	if err == nil {
		resp.Body.Close()
	}
	wantCode(t, err, CodeBadRequest)
}
