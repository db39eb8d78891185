package relay

import (
	"io"
	"sync"

	"restante/internal/accept"
	"restante/internal/header"
	"restante/internal/mail"
	"restante/spool"
)

// reroute moves the recipients who would be filed elsewhere today, or whose
// route's quota is used up and spills. Those of a pinned task would only if its
// route is gone, or has another kind of next hop by now; then they are routed
// anew. A message whose header is asked for and cannot be read stays where it is;
// the attempt will say so.
func (r *Runner) reroute(routes *table, l spool.Lease) (verdict, bool) {
	v := verdict{Settlement: spool.Settlement{
		Results: make([]spool.Result, len(l.Task.Recipients)),
		KeepDue: true,
	}}
	head := &storedHeader{bodies: r.opt.Bodies, id: l.Task.ID.Message}
	known := sync.OnceValue(head.read)
	index := make(map[spool.Destination]int)
	for i, rcpt := range l.Task.Recipients {
		d, pinned := routes.today(&l.Task, accept.Way{
			To: rcpt.To, From: l.Task.Envelope.From, Account: l.Task.Envelope.Client.Account, Header: known,
		})
		if !pinned {
			d = r.spilled(routes, d, l.Task.Destination, rcpt.To.Domain)
		}
		if d == l.Task.Destination || head.err != nil {
			continue
		}
		n, ok := index[d]
		if !ok {
			n = len(v.Moved)
			index[d] = n
			v.Moved = append(v.Moved, spool.Task{Destination: d, Pinned: pinned})
		}
		v.Moved[n].Recipients = append(v.Moved[n].Recipients, rcpt.Recipient)
		v.Results[i] = spool.Result{Status: mail.Status{Text: "rerouted to " + d.String()}, Ended: true}
	}
	if head.err != nil {
		r.opt.Logger.Error("header cannot be read, the message keeps its route", append(attrs(l), "error", head.err)...)
	}
	return v, len(v.Moved) > 0
}

// storedHeader reads the header of a message in the spool, for those routes
// that ask for it.
type storedHeader struct {
	bodies spool.Bodies
	id     mail.ID
	err    error
}

func (h *storedHeader) read() *header.Block {
	body, err := h.bodies.OpenBody(h.id)
	if err != nil {
		h.err = err
		return nil
	}
	defer body.Close()
	block, _, err := header.Read(io.NewSectionReader(body, 0, body.Size()), spool.MaxHead)
	if err != nil {
		h.err = err
	}
	return block
}
