package bench

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// Dovecot is a Dovecot of Debian's packages, in a folder of its own. It needs root.
type Dovecot struct {
	*Process
	// Boxes is the folder of the maildirs, which have the names of the users
	// without domains; Log is what it logs to.
	Boxes, Log string
}

// dovecotConfig is what all of them have: the folder, and the user and group that
// the mail belongs to.
const dovecotConfig = `
base_dir = %[1]s/run
state_dir = %[1]s/run
instance_name = restante-test
log_path = %[1]s/log
ssl = required
ssl_cert = <%[1]s/tls.crt
ssl_key = <%[1]s/tls.key
mail_location = maildir:%[1]s/boxes/%%n
mail_uid = %[2]d
mail_gid = %[3]d
first_valid_uid = 1
first_valid_gid = 0
mail_max_userip_connections = 100
userdb {
  driver = passwd-file
  args = %[1]s/users
}
passdb {
  driver = passwd-file
  args = %[1]s/users
}
service anvil {
  chroot =
}
service stats {
  chroot =
}
`

// StartDovecot runs one in a folder that has tls.crt and tls.key, with users and
// their passwords, and a configuration that says what it serves and where.
func StartDovecot(dir string, passwords map[string]string, config string) (*Dovecot, error) {
	owner, err := user.Lookup("mail")
	if err != nil {
		return nil, fmt.Errorf("this needs Debian's user mail: %w", err)
	}
	uid, _ := strconv.Atoi(owner.Uid) // they are numbers on Unix
	gid, _ := strconv.Atoi(owner.Gid)
	d := &Dovecot{Boxes: filepath.Join(dir, "boxes"), Log: filepath.Join(dir, "log")}
	if err := os.Mkdir(d.Boxes, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chown(d.Boxes, uid, gid); err != nil {
		return nil, fmt.Errorf("are you root? %w", err)
	}
	users := ""
	for name, password := range passwords {
		box, _, _ := strings.Cut(name, "@")
		users += fmt.Sprintf("%s:{PLAIN}%s:%d:%d::%s/%s::\n", name, password, uid, gid, d.Boxes, box)
	}
	file := filepath.Join(dir, "dovecot.conf")
	for name, text := range map[string]string{filepath.Join(dir, "users"): users, file: fmt.Sprintf(dovecotConfig, dir, uid, gid) + config} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	d.Process, err = StartProcess(filepath.Join(dir, "output"), "dovecot", "-F", "-c", file)
	return d, err
}
