package e2e

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"restante/internal/needs"
)

// TestThunderbird starts Thunderbird on a screen that nobody sees, with a
// profile made for it, has it open bob's INBOX and read a message, and takes a
// picture. It is too heavy to be one of many that run at the same time; .ci/run has
// it alone, and by hand it is
//
//	apt-get install thunderbird xvfb imagemagick
//	RESTANTE_THUNDERBIRD=picture.png go test ./internal/e2e -run TestThunderbird -v
//
// Look at the picture: the test knows only what Thunderbird says of itself.
func TestThunderbird(t *testing.T) {
	picture := os.Getenv("RESTANTE_THUNDERBIRD")
	if picture == "" {
		t.Skip("RESTANTE_THUNDERBIRD does not say where the picture shall go")
	}
	for _, program := range []string{"thunderbird", "Xvfb", "import"} {
		needs.Program(t, program)
	}
	picture, err := filepath.Abs(picture)
	if err != nil {
		t.Fatal(err)
	}
	d := newDaemon(t)
	for i := range 5 {
		d.send(letter(fmt.Sprint("thunderbird ", i)), alice, bob)
	}
	d.inbox(bob, 5)
	port := freePort(t)
	profile := filepath.Join(d.dir, "profile")
	if err := os.Mkdir(profile, 0o700); err != nil {
		t.Fatal(err)
	}
	d.write("profile/user.js", d.expand(thunderbirdPrefs)+fmt.Sprintf("user_pref(\"marionette.port\", %d);\n", port))
	env := append(os.Environ(), "HOME="+d.dir, "DISPLAY="+screen(t), "MOZ_DISABLE_CONTENT_SANDBOX=1", "LANG=C.UTF-8")
	cmd := exec.Command("thunderbird", "--profile", profile, "--marionette", "--remote-allow-system-access", "--no-remote")
	cmd.Env = env
	log := &output{}
	cmd.Stdout, cmd.Stderr = log, log
	background(t, cmd)
	t.Cleanup(func() {
		// Also when something went wrong: that is when one wants to see it.
		shot := exec.Command("import", "-window", "root", picture)
		shot.Env = env
		if out, err := shot.CombinedOutput(); err != nil {
			t.Errorf("import: %v, %s", err, out)
		}
		t.Logf("the picture is %s", picture)
		if t.Failed() {
			t.Logf("Thunderbird said:\n%s", log.tail(8<<10))
		}
	})
	m := dialMarionette(t, port)
	m.ask("WebDriver:NewSession", map[string]any{})
	m.ask("Marionette:SetContext", map[string]any{"value": "chrome"})
	// As somebody does who confirms the exception: the certificate is our own.
	b, err := os.ReadFile(filepath.Join(d.dir, "tls.crt"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	m.script(fmt.Sprintf(`
		const db = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
		Cc["@mozilla.org/security/certoverride;1"].getService(Ci.nsICertOverrideService)
			.rememberValidityOverride("localhost", %s, {}, db.constructX509FromBase64(%q), true);
		return true;`, d.port("imaps"), base64.StdEncoding.EncodeToString(block.Bytes)))
	m.script(d.expand(`
		const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
		login.init("imap://localhost", null, "imap://localhost", "bob@example.org", "$PASSWORD", "", "");
		return Services.logins.addLoginAsync(login).then(() => true);`))
	eventually(t, "Thunderbird shows the INBOX", func() bool {
		return m.script(`
			const win = Services.wm.getMostRecentWindow("mail:3pane");
			const pane = win?.gTabmail?.currentAbout3Pane;
			if (!pane?.displayFolder) return false;
			const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
			const root = MailServices.accounts.defaultAccount.incomingServer.rootFolder;
			let inbox = root.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
			if (!inbox) { root.server.getNewMessages(root, win.msgWindow, null); return false; }
			if (pane.gFolder?.URI !== inbox.URI) { pane.displayFolder(inbox.URI); return false; }
			return inbox.getTotalMessages(false) === 5 && pane.gDBView?.rowCount === 5;`) == "true"
	})
	m.script(`
		const pane = Services.wm.getMostRecentWindow("mail:3pane").gTabmail.currentAbout3Pane;
		pane.threadTree.selectedIndex = 2;
		return true;`)
	eventually(t, "the message has been read", func() bool {
		n := 0
		for _, s := range d.fetch(bob) {
			if strings.Contains(fmt.Sprint(s.flags), `\Seen`) {
				n++
			}
		}
		return n == 1
	})
	t.Log(m.script(`
		const pane = Services.wm.getMostRecentWindow("mail:3pane").gTabmail.currentAbout3Pane;
		const list = [];
		for (let i = 0; i < pane.gDBView.rowCount; i++) list.push(pane.gDBView.cellTextForColumn(i, "subjectCol"));
		return list.join(", ");`))
}

const thunderbirdPrefs = `
user_pref("mail.accountmanager.accounts", "account1");
user_pref("mail.accountmanager.defaultaccount", "account1");
user_pref("mail.account.account1.identities", "id1");
user_pref("mail.account.account1.server", "server1");
user_pref("mail.identity.id1.fullName", "Bob");
user_pref("mail.identity.id1.useremail", "bob@example.org");
user_pref("mail.identity.id1.smtpServer", "smtp1");
user_pref("mail.identity.id1.valid", true);
user_pref("mail.server.server1.type", "imap");
user_pref("mail.server.server1.name", "bob@example.org");
user_pref("mail.server.server1.hostname", "localhost");
user_pref("mail.server.server1.port", $imaps);
user_pref("mail.server.server1.socketType", 3);
user_pref("mail.server.server1.authMethod", 3);
user_pref("mail.server.server1.userName", "bob@example.org");
user_pref("mail.server.server1.login_at_startup", false);
user_pref("mail.server.server1.check_new_mail", false);
user_pref("mail.smtpservers", "smtp1");
user_pref("mail.smtp.defaultserver", "smtp1");
user_pref("mail.smtpserver.smtp1.hostname", "localhost");
user_pref("mail.smtpserver.smtp1.port", $submissions);
user_pref("mail.smtpserver.smtp1.try_ssl", 3);
user_pref("mail.smtpserver.smtp1.authMethod", 3);
user_pref("mail.smtpserver.smtp1.username", "bob@example.org");
user_pref("mail.shell.checkDefaultClient", false);
user_pref("mail.rights.version", 1);
user_pref("mail.spam.version", 1);
user_pref("mail.provider.suppress_dialog_on_startup", true);
user_pref("mailnews.start_page.enabled", false);
user_pref("mailnews.start_page_override.mstone", "ignore");
user_pref("app.donation.eoy.version.viewed", 999);
user_pref("datareporting.policy.dataSubmissionPolicyBypassNotification", true);
user_pref("toolkit.telemetry.reportingpolicy.firstRun", false);
user_pref("app.update.auto", false);
user_pref("extensions.update.enabled", false);
user_pref("network.proxy.type", 0);
user_pref("mailnews.mark_message_read.auto", true);
`

// background starts a program that is ended with the test.
func background(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// screen starts a display and returns its name.
func screen(t *testing.T) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command("Xvfb", "-displayfd", "3", "-screen", "0", "1280x800x24", "-nolisten", "tcp")
	cmd.ExtraFiles = []*os.File{w}
	background(t, cmd)
	w.Close()
	_ = r.SetReadDeadline(time.Now().Add(patience))
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatalf("Xvfb: %v", err)
	}
	return ":" + strings.TrimSpace(line)
}

// marionette steers Thunderbird: a JSON array with its length in front, each way.
type marionette struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	id   int
}

func dialMarionette(t *testing.T, port int) *marionette {
	t.Helper()
	m := &marionette{t: t}
	eventually(t, "Thunderbird listens", func() bool {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), time.Second)
		if err != nil {
			return false
		}
		m.conn, m.in = conn, bufio.NewReader(conn)
		return true
	})
	t.Cleanup(func() { m.conn.Close() })
	m.read() // its greeting
	return m
}

func (m *marionette) read() []byte {
	m.t.Helper()
	_ = m.conn.SetReadDeadline(time.Now().Add(patience))
	length, err := m.in.ReadString(':')
	if err != nil {
		m.t.Fatalf("Thunderbird: %v", err)
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, ":"))
	if err != nil {
		m.t.Fatalf("Thunderbird: %v", err)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(m.in, b); err != nil {
		m.t.Fatalf("Thunderbird: %v", err)
	}
	return b
}

// ask sends a command and returns its value as JSON.
func (m *marionette) ask(command string, args any) string {
	m.t.Helper()
	m.id++
	b, err := json.Marshal([]any{0, m.id, command, args})
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(m.conn, "%d:%s", len(b), b); err != nil {
		m.t.Fatal(err)
	}
	var answer [4]json.RawMessage
	if err := json.Unmarshal(m.read(), &answer); err != nil {
		m.t.Fatal(err)
	}
	if string(answer[2]) != "null" {
		m.t.Fatalf("%s: %s", command, answer[2])
	}
	return string(answer[3])
}

// script runs JavaScript with the rights of Thunderbird itself, and returns what
// it returns as JSON.
func (m *marionette) script(text string) string {
	m.t.Helper()
	var value struct {
		Value json.RawMessage `json:"value"`
	}
	answer := m.ask("WebDriver:ExecuteScript", map[string]any{"script": text, "args": []any{}})
	if err := json.Unmarshal([]byte(answer), &value); err != nil {
		m.t.Fatalf("%s: %v", answer, err)
	}
	return string(value.Value)
}
