// Package systemd holds the unit files; its tests hold them against systemd's
// own tools and against the configuration.
package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"restante/internal/config"
	"restante/internal/needs"
)

func analyze(t *testing.T, args ...string) string {
	t.Helper()
	tool := needs.Program(t, "systemd-analyze")
	out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput()
	if err != nil && strings.Contains(string(out), "nrecognized option") {
		t.Skipf("systemd-analyze is too old: %s", out)
	}
	if err != nil {
		t.Errorf("systemd-analyze %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func units(t *testing.T) []string {
	t.Helper()
	sockets, err := filepath.Glob("*.socket")
	if err != nil || len(sockets) == 0 {
		t.Fatalf("no socket units: %v", err)
	}
	return append(sockets, "restante.service")
}

// TestVerify needs an executable at ExecStart's place; this test's own will do.
func TestVerify(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args, dir := []string{"verify", "--man=no"}, t.TempDir()
	for _, u := range units(t) {
		text := strings.ReplaceAll(read(t, u), "/usr/bin/restante", self)
		path := filepath.Join(dir, u)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	if out := analyze(t, args...); strings.Contains(out, "restante") {
		t.Errorf("not clean:\n%s", out)
	}
}

// TestSecurity holds the exposure at 1.5 or less.
func TestSecurity(t *testing.T) {
	analyze(t, "security", "--offline=true", "--threshold=15", "./restante.service")
}

// TestSockets holds the socket units against the roles and the service.
func TestSockets(t *testing.T) {
	ports := map[config.Role]string{
		config.RoleSMTP: "25", config.RoleSubmission: "587", config.RoleSubmissions: "465", config.RoleIMAP: "143", config.RoleIMAPS: "993",
		config.RoleLMTP: "/run/restante-lmtp.sock",
	}
	challenges := map[string]string{"acme-http": "80", "acme-tls": "443"}
	service := read(t, "restante.service")
	listed := strings.Fields(setting(t, service, "Sockets"))
	for _, role := range config.Roles() {
		name := "restante-" + string(role) + ".socket"
		text := read(t, name)
		if got := setting(t, text, "FileDescriptorName"); got != string(role) {
			t.Errorf("%s: FileDescriptorName=%s", name, got)
		}
		if got := setting(t, text, "ListenStream"); got != ports[role] {
			t.Errorf("%s: ListenStream=%s, want %s", name, got, ports[role])
		}
		// LMTP is for those who have another server in front.
		if slices.Contains(listed, name) != (role != config.RoleLMTP) {
			t.Errorf("%s: in Sockets= of the service is %s", name, listed)
		}
	}
	if n := len(units(t)) - 1 - len(challenges); n != len(listed)+1 || n != len(ports) {
		t.Errorf("%d socket units, %d listed, %d roles", n, len(listed), len(ports))
	}
	for name, port := range challenges {
		text := read(t, "restante-"+name+".socket")
		if fd, at := setting(t, text, "FileDescriptorName"), setting(t, text, "ListenStream"); fd != name || at != port {
			t.Errorf("%s: FileDescriptorName=%s ListenStream=%s", name, fd, at)
		}
	}
}

// TestConfiguration holds the file to begin with against the unit.
func TestConfiguration(t *testing.T) {
	c, err := config.Load("config.toml")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	service := read(t, "restante.service")
	state, err := c.StatePath()
	if err != nil || state != "/var/lib/"+setting(t, service, "StateDirectory") {
		t.Errorf("state_directory is %s (%v), which the service may not write to", state, err)
	}
	if got := c.ControlPath(state); filepath.Dir(got) != "/run/"+setting(t, service, "RuntimeDirectory") {
		t.Errorf("control_socket is %s, which the service may not make", got)
	}
	if got := c.MaildropPath(state); setting(t, service, "ReadWritePaths") != "-"+got || !strings.Contains(read(t, "restante.tmpfiles"), "\nd "+got+"/new 3733 restante restante -\n") {
		t.Errorf("maildrop is %s, which is not made, or may not be written to", got)
	}
	if !c.DefaultListeners() {
		t.Error("listeners are configured beside the sockets")
	}
	if user := setting(t, service, "User"); !strings.Contains(read(t, "restante.sysusers"), "\nu "+user+" ") {
		t.Errorf("the user %s is not in restante.sysusers", user)
	}
}

// TestMaildrop has systemd-tmpfiles make the maildrop in a folder.
func TestMaildrop(t *testing.T) {
	tool := needs.Program(t, "systemd-tmpfiles")
	if os.Geteuid() != 0 {
		needs.Lacking(t, "only root can do this")
	}
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, line := range map[string]string{"passwd": "restante:x:61001:61001::/:/bin/false\n", "group": "restante:x:61001:\n"} {
		if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(line), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	rules, err := filepath.Abs("restante.tmpfiles")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), tool, "--create", "--root="+root, rules).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, want := range map[string]os.FileMode{
		"":    os.ModeDir | 0o755,
		"new": os.ModeDir | os.ModeSticky | os.ModeSetgid | 0o733,
		"bad": os.ModeDir | 0o700,
	} {
		info, err := os.Stat(filepath.Join(root, "var/spool/restante", name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%q: %v, want %v", name, info.Mode(), want)
		}
	}
}

func setting(t *testing.T, unit, key string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + key + `=(.*)$`).FindStringSubmatch(unit)
	if m == nil {
		t.Fatalf("no %s= in the unit", key)
	}
	return m[1]
}
