package wire

import (
	"errors"
	"io"
	"net"
	"time"
)

// source is what the read buffer is filled from. Whatever was written is sent
// before the client is waited for: it may be what the client waits for.
type source struct{ c *Conn }

func (s source) Read(p []byte) (int, error) {
	c := s.c
	if c.has {
		p[0], c.has = c.first[0], false
		return 1, nil
	}
	if err := c.Flush(); err != nil {
		return 0, err
	}
	if err := c.prepareWait(0); err != nil {
		return 0, err
	}
	n, err := c.in.Read(p)
	return n, c.readError(err)
}

// prepareWait sets the deadline of the next read: limit if that is sooner. Stop
// cannot come in between: it would be missed.
func (c *Conn) prepareWait(limit time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping && c.quiet {
		return ErrStopped
	}
	deadline := time.Now().Add(c.opt.Step)
	switch {
	case !c.loginBy.IsZero():
		deadline = c.loginBy
	case c.quiet:
		deadline = time.Now().Add(c.opt.Idle)
	}
	if soon := time.Now().Add(limit); limit > 0 && soon.Before(deadline) {
		deadline = soon
	}
	return c.base.SetReadDeadline(deadline)
}

func (c *Conn) readError(err error) error {
	var timeout net.Error
	if err == nil || !errors.As(err, &timeout) || !timeout.Timeout() {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping && c.quiet {
		return ErrStopped
	}
	return ErrTimeout
}

func (c *Conn) setQuiet(on bool) {
	c.mu.Lock()
	c.quiet = on
	c.mu.Unlock()
}

// Wait waits for the first octet of what the client says next. It fails with
// ErrStopped or ErrTimeout, or as the connection does.
func (c *Conn) Wait() error {
	if c.Ready() {
		if _, stop := c.Stopping(); stop {
			return ErrStopped
		}
		return nil
	}
	if err := c.Flush(); err != nil {
		return err
	}
	c.setQuiet(true)
	defer c.setQuiet(false)
	if c.br != nil && c.zip == nil {
		// A client that is busy has its buffers. Decompression does not go on
		// after an error, so there is no wait of two steps with it.
		if err := c.prepareWait(warm); err != nil {
			return err
		}
		n, err := c.in.Read(c.first[:])
		if n == 1 {
			c.has = true
			return nil
		}
		if err = c.readError(err); err != nil && !errors.Is(err, ErrTimeout) || c.loginLate() {
			return err
		}
		c.release()
	}
	for {
		if err := c.prepareWait(0); err != nil {
			return err
		}
		n, err := c.in.Read(c.first[:])
		if n == 1 {
			c.has = true
			return nil
		}
		if err != nil {
			return c.readError(err)
		}
	}
}

func (c *Conn) loginLate() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.loginBy.IsZero() && !time.Now().Before(c.loginBy)
}

// Ready tells whether some of what the client says next has come already.
func (c *Conn) Ready() bool { return c.Buffered() > 0 || c.has }

// WaitOr is Wait for a client that may be told something meanwhile: tell is called
// each time that news or more receives, and what it writes is sent. An error of tell
// ends the connection. Either channel may be nil.
func (c *Conn) WaitOr(tell func() error, news, more <-chan struct{}) error {
	if c.Ready() {
		return c.Wait()
	}
	if err := c.Flush(); err != nil {
		return err
	}
	c.release()
	heard := make(chan error, 1)
	go func() {
		c.setQuiet(true)
		defer c.setQuiet(false)
		err := c.prepareWait(0)
		if err == nil {
			var n int
			n, err = c.in.Read(c.first[:])
			if c.has = n == 1; c.has {
				err = nil
			} else if err == nil {
				err = io.ErrNoProgress
			}
			err = c.readError(err)
		}
		heard <- err
	}()
	for {
		select {
		case err := <-heard:
			return err
		case <-news:
		case <-more:
		}
		err := tell()
		if err == nil {
			err = c.Flush()
		}
		if err != nil {
			c.Abort()
			<-heard
			return err
		}
	}
}
