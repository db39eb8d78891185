package main

import "context"

// historyRoom keeps the stories of messages within their time. A reload changes
// that in place.
func (d *daemon) historyRoom() room {
	return room{name: "history", alone: true, start: func() (run, stop func(context.Context) error) {
		ctx, cancel := context.WithCancel(d.ctx)
		run = func(context.Context) error {
			defer cancel()
			return d.history.Run(ctx)
		}
		return run, func(context.Context) error { cancel(); return nil }
	}}
}
