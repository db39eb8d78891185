// Package e2e holds the end-to-end tests: they build the real binary, start it
// on free ports of the loopback interface with a state directory of its own,
// and talk to it only as users can, by SMTP, by IMAP, through its commands and
// with signals.
//
//	go test ./internal/e2e -kills=25            more turns of the kill -9 test
//	go test ./internal/e2e -run '^$' -bench .   durable accepts per second
//	RESTANTE_REQUIRE=1 go test ./internal/e2e   a missing mail client is an error
//	RESTANTE_EXIM=1 go test ./internal/e2e -run TestExim       so is a missing Exim
//	RESTANTE_HEAVY=1 go test ./internal/e2e -run TestWaiting   what waiting mail costs
//
// Every wait has an end, and each test stops what it started. When a test
// fails, the log of its daemon is shown.
package e2e
