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
		Version: s.opt.Version, PID: os.Getpid(), Started: s.opt.Started,
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
	}
	s.prolongWrite(w)
	writeJSON(w, http.StatusOK, st)
	return nil
}

// queueStatus counts by reading the whole queue: its cost grows with the queue.
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
	for t, err := range s.opt.Queue.Tasks(spool.TaskID{}) {
		if err != nil {
			return q, err
		}
		q.Tasks++
		q.States[t.State.String()]++
		counts[t.Destination]++
		if q.Tasks%batch == 0 && r.Context().Err() != nil {
			return q, r.Context().Err()
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
