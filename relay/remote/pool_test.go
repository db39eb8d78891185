package remote

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/standin"
	"restante/relay"
)

// kept counts the sessions a courier keeps.
func kept(c *Courier) int {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	n := 0
	for _, list := range c.pool.idle {
		n += len(list)
	}
	if n != c.pool.order.Len() {
		return -1
	}
	return n
}

// TestPoolIsBounded: no more than MaxIdle connections are kept over all
// destinations, and the one that was kept longest goes first, with QUIT.
func TestPoolIsBounded(t *testing.T) {
	srv := server(t, standin.Options{})
	c := courier(t, Options{MaxIdle: 2})
	var jobs []relay.Job
	for range 3 {
		j := job(to(srv)) // a route of its own, and so another destination
		jobs = append(jobs, j)
		deliver(t, c, j)
	}
	if n := kept(c); n != 2 {
		t.Errorf("%d are kept", n)
	}
	deliver(t, c, jobs[2])
	deliver(t, c, jobs[1])
	if n := srv.Connections(); n != 3 {
		t.Errorf("%d connections: the last two were not kept", n)
	}
	deliver(t, c, jobs[0])
	if n := srv.Connections(); n != 4 {
		t.Errorf("%d connections: the first was kept", n)
	}
	c.Close()
	if n := kept(c); n != 0 {
		t.Errorf("%d are kept after Close", n)
	}
	quits := 0
	for _, v := range verbs(srv) {
		if v == "QUIT" {
			quits++
		}
	}
	if quits != 4 {
		t.Errorf("%d QUIT", quits)
	}
}

// TestIdleTime: a connection is kept as long as its route says, counted from
// its last use.
func TestIdleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pool
		conn := &silentConn{}
		s := &session{wire: newWire(conn, Timeouts{}.normal(), newBuffers())}
		key := poolKey{route: &relay.Route{Idle: 10 * time.Second}}
		p.put(key, s)
		time.Sleep(9 * time.Second)
		if p.take(key) != s {
			t.Fatal("it is gone before its time")
		}
		time.Sleep(5 * time.Second)
		p.put(key, s)
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if closed, _ := conn.end(); closed {
			t.Fatal("the time of its first rest ended it")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if closed, wrote := conn.end(); p.take(key) != nil || !closed || wrote != "QUIT\r\n" {
			t.Errorf("closed %t, wrote %q", closed, wrote)
		}
		p.close()
	})
}

// TestNotKept: a route without idle time has its connections ended in form.
func TestNotKept(t *testing.T) {
	srv := server(t, standin.Options{})
	route := to(srv)
	route.Idle = -1
	c := courier(t, Options{})
	j := job(route)
	for range 2 {
		deliver(t, c, j)
	}
	c.Close()
	quits := slices.Index(verbs(srv), "QUIT")
	if srv.Connections() != 2 || quits < 0 || len(srv.Messages()) != 2 {
		t.Errorf("%d connections, commands %v", srv.Connections(), verbs(srv))
	}
}

// TestKeptConnectionSpoke: what a next hop says without being asked is not
// taken for the reply to the next message.
func TestKeptConnectionSpoke(t *testing.T) {
	srv := server(t, standin.Options{}, script(standin.Fault{At: standin.EndOfData, Raw: "250 2.0.0 ok\r\n421 4.4.2 idle for too long\r\n"}))
	c := courier(t, Options{})
	j := job(to(srv))
	for range 2 {
		if out := deliver(t, c, j); !slices.Equal(codes(out), []int{250}) || len(out.Contacts) != 1 {
			t.Errorf("outcome %+v", out)
		}
	}
	if srv.Connections() != 2 {
		t.Errorf("%d connections", srv.Connections())
	}
}
