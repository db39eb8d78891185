package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"restante/internal/e2e/bench"
)

// settle is how long connections are idle before they are counted: whatever a
// server does to give memory back shall be done by then. restante looks every 30
// seconds whether it has become quiet.
const settle = 2 * time.Minute

// idle measures what connections cost that sit in IDLE.
func idle(ctx context.Context, names []string, servers map[string]*running, n int) error {
	before := make(map[string]int64)
	var clients []*client
	defer func() {
		for _, c := range clients {
			c.conn.Close()
		}
	}()
	for _, name := range names {
		var err error
		if before[name], err = bench.PSS(servers[name].pid); err != nil {
			return err
		}
		start := time.Now()
		list, err := sleepers(ctx, servers[name].addr, n)
		if clients = append(clients, list...); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %d connections in %v\n", name, n, time.Since(start).Round(time.Second))
	}
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return ctx.Err()
	}
	fmt.Printf("%d connections to each, over TLS, logged in, INBOX selected, in IDLE for %v.\n\n| | KB each |\n|---|---:|\n", n, settle)
	for _, name := range names {
		after, err := bench.PSS(servers[name].pid)
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %.1f |\n", name, float64(after-before[name])/float64(n)/1000)
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
