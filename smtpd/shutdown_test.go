package smtpd

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"restante/spool"
	"restante/spool/spooltest"
)

// shutDown begins a shutdown that may last d, and returns what comes of it.
func (h *pipeHouse) shutDown(d time.Duration) <-chan error {
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		done <- h.srv.Shutdown(ctx)
	}()
	return done
}

// Idle clients are sent away at once, or when they are no longer fresh; one in a transaction may end it, and is
// sent away then. In the bubble a goroutine that is left fails the test.
func TestShutdownWaitsForTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, nil)
		idle, busy, between := h.dial(), h.dial(), h.dial()
		idle.want("220 *")
		busy.transaction()
		busy.ask("DATA", "354 *")
		between.transaction()
		done := h.shutDown(time.Hour)
		idle.want("421 4.3.2 *")
		idle.want("")
		time.Sleep(time.Minute)
		busy.write("Subject: x\r\n\r\nhello\r\n")
		time.Sleep(time.Minute)
		busy.ask(".", "250 2.0.0 Accepted as *")
		busy.want("421 4.3.2 *")
		busy.want("")
		between.ask("RSET", "250 *")
		between.want("421 4.3.2 *")
		between.want("")
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := <-h.served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := h.srv.Shutdown(context.Background()); err != nil {
			t.Errorf("second Shutdown: %v", err)
		}
		if err := h.srv.Serve(context.Background(), newPipeListener()); !errors.Is(err, ErrServed) {
			t.Errorf("second Serve: %v", err)
		}
	})
}

// When the time is over, all are cut off, wherever they are.
func TestShutdownCutsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, nil)
		command, data, chunks, deaf := h.dial(), h.dial(), h.dial(), h.connect()
		defer deaf.Close()
		command.transaction()
		data.transaction()
		data.ask("DATA", "354 *")
		data.write("Subject: x\r\n")
		chunks.transaction()
		chunks.write("BDAT 3\r\nabc")
		chunks.want("250 *")
		begin := time.Now()
		err := <-h.shutDown(10 * time.Second)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		if d := time.Since(begin); d < 10*time.Second || d > 15*time.Second {
			t.Errorf("Shutdown took %v", d)
		}
		for _, c := range []*pipeClient{command, data, chunks} {
			c.want("421 4.3.2 *")
			c.want("")
		}
		if n := h.spool.Staging(); n != 0 {
			t.Errorf("%d messages left in the making", n)
		}
	})
}

// The end of Serve's context cuts off at once.
func TestServeContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := New(testOptions(spooltest.NewMemory(spooltest.MemoryOptions{})))
		h := &pipeHouse{t: t, srv: srv, listen: newPipeListener()}
		ctx, cancel := context.WithCancel(context.Background())
		served := make(chan error)
		go func() { served <- srv.Serve(ctx, h.listen) }()
		c := h.dial()
		c.transaction()
		cancel()
		c.want("421 4.3.2 *")
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// A commit that does not end is not waited for beyond the shutdown, and is not
// acknowledged.
func TestShutdownDuringCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := spooltest.NewMemory(spooltest.MemoryOptions{})
		h := openPipe(t, func(o *Options) {
			*o = testOptions(stuckIntake{memory})
		})
		c := h.dial()
		c.transaction()
		c.ask("DATA", "354 *")
		c.write("Subject: x\r\n\r\nhello\r\n.\r\n")
		err := <-h.shutDown(time.Second)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		c.want("451 4.3.0 *")
		c.want("421 4.3.2 *")
		c.want("")
	})
}

// stuckIntake has commits that end with their context.
type stuckIntake struct{ spool.Intake }

func (i stuckIntake) Create() (spool.Staged, error) {
	s, err := i.Intake.Create()
	return stuckStaged{s}, err
}

type stuckStaged struct{ spool.Staged }

func (s stuckStaged) Commit(ctx context.Context, _ spool.Message) (spool.Receipt, error) {
	<-ctx.Done()
	return spool.Receipt{}, errors.Join(spool.ErrUncertain, ctx.Err())
}

// A listener that fails ends the service, with its error, and connections.
func TestListenerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, nil)
		c := h.dial()
		c.want("220 *")
		h.listen.Close()
		if err := <-h.served; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
		c.want("421 4.3.2 *")
		c.want("")
	})
}

func TestShutdownBeforeServe(t *testing.T) {
	srv := New(testOptions(spooltest.NewMemory(spooltest.MemoryOptions{})))
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := srv.Serve(context.Background(), newPipeListener()); err != nil {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}

// Who comes while a reload replaces the server is served, if it does not dally:
// it could not know.
func TestShutdownServesWhoHasJustCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, nil)
		quick, slow := h.dial(), h.dial()
		time.Sleep(freshTime / 2)
		done := h.shutDown(time.Hour)
		synctest.Wait()
		begin := time.Now()
		slow.want("220 *")
		quick.transaction()
		quick.ask("DATA", "354 *")
		quick.write("Subject: x\r\n\r\nhello\r\n")
		quick.ask(".", "250 2.0.0 Accepted as *")
		quick.ask("QUIT", "221 *")
		slow.want("421 4.3.2 *")
		slow.want("")
		if took := time.Since(begin); took > freshTime/2 {
			t.Errorf("it took %v", took)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
