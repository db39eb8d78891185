package relay

import (
	"slices"

	"restante/spool"
)

// spilled returns where a recipient goes whose route is home: there, or where
// it spills to while its daily quota is used up. What has spilled stays where it
// is as long as that has room, so that nothing goes to and fro; with no room
// anywhere it waits where it is.
func (r *Runner) spilled(routes *table, home, now spool.Destination, domain string) spool.Destination {
	first := home
	var visited []string
	found := false
	for route := routes.names[home.Route]; route != nil && !slices.Contains(visited, route.Name); route = routes.names[route.SpillTo] {
		visited = append(visited, route.Name)
		d := route.destination(domain)
		if route.Name == home.Route {
			d = home
		}
		full := r.opt.Budgets.full(route)
		if d == now && !full {
			return now
		}
		if !full && !found {
			first, found = d, true
		}
		if d == now && !found {
			first = now
		}
	}
	return first
}

// spills tells whether what waits for a route is to be looked at though its
// quota is used up: it may be moved.
func (r *Runner) spills(route *Route) bool {
	return route.SpillTo != "" && r.opt.Budgets.full(route)
}

// full tells whether the daily quota of a route is used up, or those of all its
// hosts are.
func (b *Budgets) full(route *Route) bool {
	if route.Limits.Daily > 0 && b.Short(route.Name, route.Limits).Quota {
		return true
	}
	return len(route.Hosts) > 0 && !slices.ContainsFunc(route.Hosts, func(h Host) bool {
		return h.Limits.Daily <= 0 || !b.Short(route.BudgetOf(h), h.Limits).Quota
	})
}
