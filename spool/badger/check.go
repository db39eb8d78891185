package badger

import (
	"context"

	"restante/spool"
)

// Check implements spool.Checker.
func (e *Engine) Check(ctx context.Context, opt spool.CheckOptions) (spool.CheckReport, error) {
	if err := e.enter(); err != nil {
		return spool.CheckReport{}, err
	}
	defer e.leave()
	return spool.CheckReport{}, e.acknowledge(e.Losses())
}
