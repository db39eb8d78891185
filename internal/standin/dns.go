package standin

import (
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// DNS is a name server that knows only what it was told. A name that it does
// not know does not exist (NXDOMAIN). It is safe for concurrent use.
type DNS struct {
	servers [2]*dns.Server
	done    sync.WaitGroup
	addr    string

	mu      sync.Mutex
	records map[string][]dns.RR
	failing map[string]bool // "name." or "name. TYPE"
	signed  map[string]bool // zones
	queries []string
}

// NewDNS starts a name server on a free port of 127.0.0.1, by UDP and TCP,
// with records in the form of zone files: "example.com. MX 10 mx.example.com.".
func NewDNS(records ...string) (*DNS, error) {
	d := &DNS{failing: make(map[string]bool), signed: make(map[string]bool)}
	if err := d.Set(records...); err != nil {
		return nil, err
	}
	udp, tcp, err := listenBoth()
	if err != nil {
		return nil, fmt.Errorf("standin: %w", err)
	}
	d.addr = udp.LocalAddr().String()
	d.servers = [2]*dns.Server{
		{PacketConn: udp, Handler: dns.HandlerFunc(d.answer)},
		{Listener: tcp, Handler: dns.HandlerFunc(d.answer)},
	}
	var started sync.WaitGroup
	for _, s := range d.servers {
		started.Add(1)
		d.done.Add(1)
		s.NotifyStartedFunc = started.Done
		go func() {
			defer d.done.Done()
			s.ActivateAndServe()
		}()
	}
	started.Wait()
	return d, nil
}

// listenBoth finds a port that is free for UDP and TCP.
func listenBoth() (net.PacketConn, net.Listener, error) {
	for try := 0; ; try++ {
		udp, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		tcp, err := net.Listen("tcp", udp.LocalAddr().String())
		if err == nil {
			return udp, tcp, nil
		}
		udp.Close()
		if try == 10 {
			return nil, nil, err
		}
	}
}

// Addr is "127.0.0.1:port".
func (d *DNS) Addr() string { return d.addr }

// Set replaces all records.
func (d *DNS) Set(records ...string) error {
	m := make(map[string][]dns.RR)
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			return fmt.Errorf("standin: record %q: %w", text, err)
		}
		name := strings.ToLower(rr.Header().Name)
		m[name] = append(m[name], rr)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.records = m
	return nil
}

// Fail makes questions for a name fail (SERVFAIL), or succeed again.
func (d *DNS) Fail(name string, on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failing[strings.ToLower(dns.Fqdn(name))] = on
}

// FailType does the same to the questions for one type of record, "TLSA".
func (d *DNS) FailType(name, qtype string, on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failing[strings.ToLower(dns.Fqdn(name))+" "+qtype] = on
}

// Sign has the answers about a name and all below it bear the AD bit, as those
// of a validating resolver, for who asks for it. An answer by way of an alias
// has it if all names of the way are signed.
func (d *DNS) Sign(name string, on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.signed[strings.ToLower(dns.Fqdn(name))] = on
}

func (d *DNS) isSigned(name string) bool {
	for zone, on := range d.signed {
		if on && dns.IsSubDomain(zone, name) {
			return true
		}
	}
	return false
}

// Queries returns the questions so far, "name. TYPE".
func (d *DNS) Queries() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.queries...)
}

// Close stops the server and waits for its end.
func (d *DNS) Close() error {
	var first error
	for _, s := range d.servers {
		if err := s.Shutdown(); err != nil && first == nil {
			first = err
		}
	}
	d.done.Wait()
	return first
}

func (d *DNS) answer(w dns.ResponseWriter, query *dns.Msg) {
	reply := new(dns.Msg).SetReply(query)
	reply.RecursionAvailable = true
	if len(query.Question) == 1 {
		d.fill(reply, query.Question[0])
		reply.AuthenticatedData = reply.AuthenticatedData && query.AuthenticatedData
	}
	if _, udp := w.LocalAddr().(*net.UDPAddr); udp {
		reply.Truncate(dns.MinMsgSize)
	}
	w.WriteMsg(reply)
}

// fill follows aliases, as a resolver does.
func (d *DNS) fill(reply *dns.Msg, q dns.Question) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queries = append(d.queries, q.Name+" "+dns.TypeToString[q.Qtype])
	name := strings.ToLower(q.Name)
	reply.AuthenticatedData = true
	for range 8 {
		reply.AuthenticatedData = reply.AuthenticatedData && d.isSigned(name)
		if d.failing[name] || d.failing[name+" "+dns.TypeToString[q.Qtype]] {
			reply.Rcode, reply.AuthenticatedData = dns.RcodeServerFailure, false
			return
		}
		records, known := d.records[name]
		if !known {
			reply.Rcode = dns.RcodeNameError
			return
		}
		alias := ""
		for _, rr := range records {
			if cname, ok := rr.(*dns.CNAME); ok {
				alias = strings.ToLower(cname.Target)
			}
			if t := rr.Header().Rrtype; t == q.Qtype || t == dns.TypeCNAME {
				reply.Answer = append(reply.Answer, rr)
			}
		}
		if alias == "" || q.Qtype == dns.TypeCNAME {
			return
		}
		name = alias
	}
}
