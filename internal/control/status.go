package control

import (
	"cmp"
	"net/http"
	"os"
	"slices"

	"restante/spool"
)

// maxDestinations bounds QueueStatus.Destinations.
const maxDestinations = 1000

func (s *Server) getStatus(w http.ResponseWriter, r *http.Request) error {
	st := DaemonStatus{
		Version: s.opt.Version, Hostname: s.opt.Hostname, PID: os.Getpid(), Started: s.opt.Started,
		Uptime:   int64(s.opt.Now().Sub(s.opt.Started).Seconds()),
		StateDir: s.opt.StateDir, Listeners: s.opt.Listeners(),
	}
	if s.opt.Spool != nil {
		st.Losses = s.opt.Spool.Losses()
	}
	if peerOf(r.Context()).Admin {
		q, err := s.queueStatus(r)
		if err != nil {
			return err
		}
		st.Queue = &q
		st.Spool = s.spoolStatus()
		if s.opt.Quotas != nil {
			st.Quotas = s.opt.Quotas()
		}
		if s.opt.Maildrop != nil {
			st.Maildrop = s.opt.Maildrop()
		}
	}
	s.prolongWrite(w)
	writeJSON(w, http.StatusOK, st)
	return nil
}

// queueStatus costs as much as there are destinations, whatever is queued.
func (s *Server) queueStatus(r *http.Request) (QueueStatus, error) {
	q := QueueStatus{States: map[string]int{}, Destinations: []DestinationStatus{}}
	backoffs, err := s.backoffs()
	if err != nil {
		return q, err
	}
	counts := make(map[spool.Destination]int, len(backoffs))
	for d := range backoffs {
		counts[d] = 0
	}
	list, err := s.opt.Queue.TaskCounts(r.Context())
	if err != nil {
		return q, err
	}
	for _, d := range list {
		n := d.Tasks.Total()
		q.Tasks += n
		counts[d.Destination] = n
		for state, n := range d.Tasks {
			if n > 0 {
				q.States[spool.State(state).String()] += n
			}
		}
	}
	for d, n := range counts {
		q.Destinations = append(q.Destinations, DestinationStatus{Destination: d.String(), Tasks: n, Backoff: backoffs[d]})
	}
	slices.SortFunc(q.Destinations, func(a, b DestinationStatus) int {
		return cmp.Or(cmp.Compare(b.Tasks, a.Tasks), cmp.Compare(a.Destination, b.Destination))
	})
	q.Destinations = q.Destinations[:min(len(q.Destinations), maxDestinations)]
	return q, nil
}
