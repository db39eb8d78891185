//go:build race

package e2e

// raceEnabled tells that the tests, and so the binary, look for data races.
const raceEnabled = true
