// Package standin plays the rest of the world in tests: Server is a next hop
// that takes mail by SMTP and misbehaves as a script tells it, DNS is a name
// server with a few records. Both listen on loopback alone, need no privilege
// and no network, and are gone after Close. Nothing but tests uses it.
//
// A server without a script accepts everything and remembers it:
//
//	srv, err := standin.NewServer(standin.Options{})
//	defer srv.Close()
//	srv.Next(standin.Script{{At: standin.EndOfData, Code: 451, Text: "4.3.0 later"}})
//	srv.Next(standin.Script{{At: standin.Body, Drop: true}})
//	… send to srv.Addr() until it is accepted …
//	messages := srv.Messages()
package standin
