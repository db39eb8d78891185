package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"restante/internal/mail"
)

// ServerName returns Hostname, or else the machine's name, or "localhost" if
// that is no domain name.
func (c *Config) ServerName() string {
	name := c.Hostname
	if name == "" {
		// An error leaves the name empty, which is no domain.
		name, _ = os.Hostname()
	}
	d, err := mail.ParseDomain(name)
	if err != nil || strings.HasPrefix(d, "[") {
		return "localhost"
	}
	return d
}

// StatePath returns StateDirectory, or else the one the service manager made
// ($STATE_DIRECTORY), or else restante in the user's state directory. It fails
// if the user has no home.
func (c *Config) StatePath() (string, error) {
	if c.StateDirectory != "" {
		return c.StateDirectory, nil
	}
	// The service manager separates several directories with colons.
	if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); dir != "" {
		return dir, nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "restante"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", errors.New("no state directory: set state_directory in the configuration, or use --state")
	}
	return filepath.Join(home, ".local", "state", "restante"), nil
}

// ControlPath returns ControlSocket, or else control.sock in the given state
// directory.
func (c *Config) ControlPath(state string) string {
	if c.ControlSocket != "" {
		return c.ControlSocket
	}
	return filepath.Join(state, "control.sock")
}
