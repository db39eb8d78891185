// Package needs says what becomes of a test that wants something which this
// machine does not have, mostly a program of others: it is skipped; where
// RESTANTE_REQUIRE=1 says that everything is there, as .ci/run does, it fails.
package needs

import (
	"os"
	"os/exec"
	"testing"
)

// Lacking ends a test for want of something.
func Lacking(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("RESTANTE_REQUIRE") == "1" {
		t.Fatalf("required here: "+format, args...)
	}
	t.Skipf(format, args...)
}

// Program returns the path of a program, which has to be in the PATH.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Lacking(t, "%s is not installed", name)
	}
	return path
}
