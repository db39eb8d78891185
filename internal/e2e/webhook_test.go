package e2e

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"restante/internal/needs"
)

// webhookProgram is what somebody would write after reading docs/routes.md; the
// function verify is taken from there. It is busy at first, and prints a line of
// JSON for each request.
const webhookProgram = `
import http.server, json, os, sys
seen = set()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        key = self.headers["Idempotency-Key"]
        again = key in seen
        seen.add(key)
        if again:
            answer = {"id": "ticket-7", "results": [{"to": "nobody@app.example", "code": 550, "enhanced": "5.1.1", "text": "no such queue"}]}
        else:
            answer = {"text": "starting"}
        text = json.dumps(answer).encode()
        self.send_response(200 if again else 503)
        if not again:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        envelope = self.headers.get("Restante-Envelope")
        # The end of the line in the same write: each request has a thread of its own.
        print(json.dumps({
            "path": self.path, "again": again, "verified": verify(os.environ["SECRET"].encode(), self.headers, body),
            "forged": verify(b"another secret altogether", self.headers, body),
            "type": self.headers["Content-Type"], "token": self.headers.get("Authorization", ""),
            "to": [r["to"] for r in (json.loads(envelope) if envelope else json.loads(body)["envelope"])["recipients"]],
            "body": body.decode(),
        }) + "\n", end="", flush=True)
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
`

// posting is a line of that program.
type posting struct {
	Path             string
	Again            bool
	Verified, Forged bool
	Type, Token      string
	To               []string
	Body             string
}

// verifyFunction is the example of the documentation.
func verifyFunction(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/routes.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```python\n(.*?)```").FindStringSubmatch(string(b))
	if m == nil {
		t.Fatal("docs/routes.md has no example in Python")
	}
	return m[1]
}

// TestWebhook has a program in Python take mail in both formats: it is busy at
// first, then takes it, and refuses one recipient.
func TestWebhook(t *testing.T) {
	needs.Program(t, "python3")
	t.Parallel()
	const secret = "a secret of some length"
	cmd := exec.Command("python3", "-c", verifyFunction(t)+webhookProgram)
	cmd.Env = append(os.Environ(), "SECRET="+secret)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	next := func() string {
		t.Helper()
		select {
		case line, ok := <-lines:
			if !ok {
				t.Fatal("the program has ended")
			}
			return line
		case <-time.After(patience):
			t.Fatal("nothing was posted")
		}
		return ""
	}
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := "http://127.0.0.1:" + next()
	d := newDaemon(t, quick(""), `
[[route]]
name = "app"
domains = ["app.example"]
next_hop = ["`+url+`/raw"]
webhook_secret_file = "`+file+`"
webhook_token_file = "`+file+`"
[[route]]
name = "parts"
domains = ["parts.example"]
next_hop = ["`+url+`/json"]
webhook_format = "json"
webhook_secret_file = "`+file+`"
`)
	d.send(letter("to a program"), alice, "tickets@app.example", "nobody@app.example")
	d.send(letter("in parts"), alice, "tickets@parts.example")
	took := make(map[string]posting)
	for len(took) < 2 {
		var p posting
		line := next()
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if !p.Verified || p.Forged {
			t.Errorf("signature: %s", line)
		}
		if p.Again {
			took[p.Path] = p
		}
	}
	raw, parts := took["/raw"], took["/json"]
	if raw.Type != "message/rfc822" || raw.Token != "Bearer "+secret || strings.Join(raw.To, " ") != "tickets@app.example nobody@app.example" ||
		!strings.HasSuffix(raw.Body, "\r\n\r\nHello.\r\n.dot\r\n") || !strings.Contains(raw.Body, "Subject: to a program\r\n") {
		t.Errorf("raw: %+v", raw)
	}
	if parts.Type != "application/json" || parts.Token != "" || !strings.Contains(parts.Body, `"text":"Hello.\r\n.dot\r\n"`) {
		t.Errorf("json: %+v", parts)
	}
	// The refused recipient's sender is told, in the program's words.
	if report := string(d.inbox(alice, 1)[0].body); !strings.Contains(report, "no such queue") || !strings.Contains(report, "nobody@app.example") {
		t.Errorf("report:\n%s", report)
	}
}
