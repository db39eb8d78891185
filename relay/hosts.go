package relay

import (
	"cmp"
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
)

// Host is a fixed next hop.
type Host struct {
	// Name is a host name or an IP address without brackets.
	Name string
	// Port is 0 for the usual one: 465 with implicit TLS, 24 with LMTP, 587
	// with a username, otherwise 25.
	Port int
	// Path is that of a Unix socket, in the place of Name and Port.
	Path string

	// Hosts of a lower Order are tried before those of a higher one. Among
	// equals the one to try first is drawn: each with a chance in proportion to
	// its Weight. Those of Weight 0 follow, as they are listed.
	Order, Weight int
	// Username with Password or Token, as those of the route, are for this host,
	// if the route's are not.
	Username string
	Password func() (string, error)
	Token    func(ctx context.Context, refused string) (string, error)
	// TLS, unless it is nil, is in the place of the route's.
	TLS *TLSMode
	// Limits are those of this host; a host that may be given no more is
	// passed over.
	Limits Limits
}

// String is "host:port", "host" or "unix:/path".
func (h Host) String() string {
	switch {
	case h.Path != "":
		return "unix:" + h.Path
	case h.Port == 0:
		return h.Name
	}
	return net.JoinHostPort(h.Name, strconv.Itoa(h.Port))
}

// Special tells whether the host asks for something of its own.
func (h Host) Special() bool { return h.Username != "" || h.TLS != nil || !h.Limits.IsZero() }

func (h Host) check() error {
	switch {
	case h.Order < 0 || h.Weight < 0 || h.Weight > 1<<20:
		return errors.New("order or weight out of range")
	case h.Username != "" && h.Password == nil && h.Token == nil:
		return errors.New("a username without a password")
	case h.TLS != nil && int(*h.TLS) >= len(tlsNames):
		return errors.New("unknown TLS mode")
	}
	return nil
}

// HostOrder returns the indexes of hosts in the order in which a delivery tries
// them. It is a pure function: rnd, in [0, 1), is the only randomness.
func HostOrder(hosts []Host, rnd func() float64) []int {
	order := make([]int, len(hosts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(hosts[a].Order, hosts[b].Order), unweighted(hosts[a])-unweighted(hosts[b]))
	})
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && hosts[order[to]].Order == hosts[order[from]].Order {
			to++
		}
		draw(hosts, order[from:to], rnd)
		from = to
	}
	return order
}

// unweighted is 1 for hosts that are not drawn.
func unweighted(h Host) int {
	if h.Weight > 0 {
		return 0
	}
	return 1
}

// draw puts those with weights, which come first, into the order in which lots
// take them out of the hat.
func draw(hosts []Host, order []int, rnd func() float64) {
	total := 0
	for _, i := range order {
		total += max(hosts[i].Weight, 0)
	}
	for n := 0; total > 0; n++ {
		lot := int(rnd() * float64(total))
		for m := n; ; m++ {
			w := hosts[order[m]].Weight
			if lot -= w; lot < 0 {
				total -= w
				drawn := order[m]
				copy(order[n+1:m+1], order[n:m])
				order[n] = drawn
				break
			}
		}
	}
}

// Through returns the route as it is for one of its hosts alone.
func (r *Route) Through(i int) *Route {
	h, one := r.Hosts[i], *r
	one.Hosts = []Host{h}
	if h.Username != "" {
		one.Username, one.Password, one.Token = h.Username, h.Password, h.Token
	}
	if h.TLS != nil {
		one.TLS = *h.TLS
	}
	return &one
}

// BudgetOf is the name under which Budgets counts a host of the route.
func (r *Route) BudgetOf(h Host) string { return r.Name + "/" + h.String() }
