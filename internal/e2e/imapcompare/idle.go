package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"restante/internal/e2e/bench"
)

// idle measures what connections cost that sit in IDLE.
func idle(ctx context.Context, names []string, servers map[string]*running, n int) error {
	fmt.Printf("%d connections over TLS, logged in, INBOX selected, in IDLE.\n\n| | KB each |\n|---|---:|\n", n)
	for _, name := range names {
		r := servers[name]
		before, err := bench.PSS(r.pid)
		if err != nil {
			return err
		}
		clients, err := sleepers(ctx, r.addr, n)
		if err == nil {
			time.Sleep(10 * time.Second) // buffers are given back by then
			var after int64
			if after, err = bench.PSS(r.pid); err == nil {
				fmt.Printf("| %s | %.1f |\n", name, float64(after-before)/float64(n)/1000)
			}
		}
		for _, c := range clients {
			c.conn.Close()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func sleepers(ctx context.Context, addr string, n int) ([]*client, error) {
	const hands = 8
	var mu sync.Mutex
	var all []*client
	errs := make([]error, hands)
	var work sync.WaitGroup
	for i := range hands {
		work.Go(func() {
			for m := i; m < n && errs[i] == nil && ctx.Err() == nil; m += hands {
				c, err := login(addr)
				if err == nil {
					if _, err = io.WriteString(c.conn, "i IDLE\r\n"); err == nil {
						_, err = c.r.ReadSlice('\n')
					}
					c.r = nil // our own memory is not the question
					mu.Lock()
					all = append(all, c)
					mu.Unlock()
				}
				errs[i] = err
			}
		})
	}
	work.Wait()
	return all, errors.Join(errs...)
}
