package bench

import (
	"fmt"
	"os"
	"path/filepath"
)

// Restante is ours, in a folder of its own. It takes mail by SMTP from this
// machine, by as many connections as come.
type Restante struct {
	Binary string
	*Process
	dir string
}

const restanteConfig = `
hostname = "mx.example.org"
[[listener]]
role = "smtp"
address = "127.0.0.1:%d"
[smtp]
max_connections = 2000
max_connections_per_address = 2000
[[domain]]
name = "example.org"
`

// Start runs it with more of a configuration, and returns where it listens, and
// its process.
func (r *Restante) Start(dir, config string) (addr string, pid int, err error) {
	r.dir = dir
	port, err := FreePort()
	if err != nil {
		return "", 0, err
	}
	text := fmt.Sprintf(restanteConfig, port) + config
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(text), 0o600); err != nil {
		return "", 0, err
	}
	r.Process, err = StartProcess(filepath.Join(dir, "log"), append([]string{r.Binary, "serve"}, r.Args()...)...)
	if err != nil {
		return "", 0, err
	}
	return fmt.Sprintf("127.0.0.1:%d", port), r.Cmd.Process.Pid, nil
}

// Args are those by which a command finds it.
func (r *Restante) Args() []string {
	return []string{"--config", filepath.Join(r.dir, "config.toml"), "--state", filepath.Join(r.dir, "state")}
}
