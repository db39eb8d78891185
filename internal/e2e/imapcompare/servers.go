package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"restante/internal/e2e/bench"
)

// certificate writes tls.crt and tls.key into a folder.
func certificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// restante is ours.
type restante struct {
	binary string
	*bench.Process
}

const restanteConfig = `
hostname = "mx.example.org"
[[listener]]
role = "imaps"
address = "127.0.0.1:%d"
[imap]
max_connections = 20000
max_connections_per_address = 20000
max_connections_per_account = 20000
[tls]
certificate = "tls.crt"
key = "tls.key"
[[domain]]
name = "example.org"
[[account]]
name = "alice@example.org"
password_file = "password"
`

// Start implements server.
func (r *restante) Start(_ context.Context, dir string) (string, int, error) {
	port, err := bench.FreePort()
	if err != nil {
		return "", 0, err
	}
	if err := certificate(dir); err != nil {
		return "", 0, err
	}
	for name, text := range map[string]string{"config.toml": fmt.Sprintf(restanteConfig, port), "password": password + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return "", 0, err
		}
	}
	r.Process, err = bench.StartProcess(filepath.Join(dir, "log"), r.binary, "serve", "--config", filepath.Join(dir, "config.toml"), "--state", filepath.Join(dir, "state"))
	if err != nil {
		return "", 0, err
	}
	return fmt.Sprintf("127.0.0.1:%d", port), r.Cmd.Process.Pid, nil
}

// dovecot is theirs.
type dovecot struct{ *bench.Process }

const dovecotConfig = `
base_dir = %[1]s/run
state_dir = %[1]s/run
instance_name = restante-compare
log_path = %[1]s/log
protocols = imap
ssl = required
ssl_cert = <%[1]s/tls.crt
ssl_key = <%[1]s/tls.key
mail_location = maildir:%[1]s/boxes/%%n
mail_uid = %[2]s
mail_gid = %[3]s
first_valid_uid = 1
first_valid_gid = 0
mail_max_userip_connections = 20000
default_vsz_limit = 4G
userdb {
  driver = static
  args = uid=%[2]s gid=%[3]s home=%[1]s/boxes/%%n
}
passdb {
  driver = static
  args = password=%[5]s
}
namespace inbox {
  inbox = yes
}
service imap-login {
  process_min_avail = 1
  service_count = 0
  client_limit = 20000
  inet_listener imap {
    port = 0
  }
  inet_listener imaps {
    address = 127.0.0.1
    port = %[4]d
    ssl = yes
  }
}
service imap {
  process_limit = 20000
}
service anvil {
  client_limit = 60000
}
service auth {
  client_limit = 60000
}
service stats {
  client_limit = 60000
}
`

// Start implements server.
func (d *dovecot) Start(_ context.Context, dir string) (string, int, error) {
	port, err := bench.FreePort()
	if err != nil {
		return "", 0, err
	}
	if err := certificate(dir); err != nil {
		return "", 0, err
	}
	owner, err := user.Lookup("mail")
	if err != nil {
		return "", 0, fmt.Errorf("this needs Debian's user mail: %w", err)
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	boxes := filepath.Join(dir, "boxes")
	if err := os.Mkdir(boxes, 0o700); err != nil {
		return "", 0, err
	}
	if err := os.Chown(boxes, uid, gid); err != nil {
		return "", 0, fmt.Errorf("are you root? %w", err)
	}
	config := filepath.Join(dir, "dovecot.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, dovecotConfig, dir, owner.Uid, owner.Gid, port, password), 0o644); err != nil {
		return "", 0, err
	}
	if d.Process, err = bench.StartProcess(filepath.Join(dir, "output"), "dovecot", "-F", "-c", config); err != nil {
		return "", 0, fmt.Errorf("is the dovecot-imapd package installed? %w", err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port), d.Cmd.Process.Pid, nil
}
