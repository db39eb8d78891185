package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"restante/internal/config"
	"restante/internal/control"
	"restante/internal/mail"
)

func TestParseSendmail(t *testing.T) {
	for _, c := range []struct {
		args string
		want sendmailArgs
	}{
		{"a@x b@x,c@x", sendmailArgs{Submission: control.Submission{Recipients: []string{"a@x", "b@x", "c@x"}}}},
		{"-t -i", sendmailArgs{Submission: control.Submission{FromHeader: true}, ignoreDots: true}},
		{"-tioem", sendmailArgs{Submission: control.Submission{FromHeader: true}, ignoreDots: true}},
		{"-oi a", sendmailArgs{Submission: control.Submission{Recipients: []string{"a"}}, ignoreDots: true}},
		{"-o i a", sendmailArgs{Submission: control.Submission{Recipients: []string{"a"}}, ignoreDots: true}},
		{"-fb@x a", sendmailArgs{Submission: control.Submission{From: "b@x", Recipients: []string{"a"}}}},
		{"-f b@x -F B a", sendmailArgs{Submission: control.Submission{From: "b@x", Name: "B", Recipients: []string{"a"}}}},
		{"-r b@x a", sendmailArgs{Submission: control.Submission{From: "b@x", Recipients: []string{"a"}}}},
		{"-fAlice<b@x> a", sendmailArgs{Submission: control.Submission{From: "b@x", Recipients: []string{"a"}}}},
		{"-f <> a", sendmailArgs{Submission: control.Submission{From: "<>", Recipients: []string{"a"}}}},
		{"a -- -b@x", sendmailArgs{Submission: control.Submission{Recipients: []string{"a", "-b@x"}}}},
		{"-B 8BITMIME -BX -q15m -d7.1 -Am -O Opt=1 -m -G -U -c -x -h 3 -p x -L tag -oem -odi -o7 -oAfile -C dir -X log a",
			sendmailArgs{Submission: control.Submission{Recipients: []string{"a"}}, idle: true}},
		{"-metoo -v a", sendmailArgs{Submission: control.Submission{Recipients: []string{"a"}}, verbose: true}},
		{"-N success,failure -R full -V e a", sendmailArgs{Submission: control.Submission{Notify: []string{"success", "failure"}, Ret: "full", EnvID: "e", Recipients: []string{"a"}}}},
		{"-bm a", sendmailArgs{Submission: control.Submission{Recipients: []string{"a"}}}},
		{"-bp -bm a", sendmailArgs{Submission: control.Submission{Recipients: []string{"a"}}}},
		{"-bs", sendmailArgs{mode: "s"}},
		{"-bh", sendmailArgs{mode: "h"}},
		{"-q", sendmailArgs{mode: "q", flush: control.Selection{All: true}}},
		{"-qI06H0AUEDU7PI71FC", sendmailArgs{mode: "q", flush: control.Selection{IDs: []string{"06H0AUEDU7PI71FC"}}}},
		{"-qRexample.net", sendmailArgs{mode: "q", flush: control.Selection{All: true, Filter: control.Filter{Recipient: "example.net"}}}},
		{"-qSa@b", sendmailArgs{mode: "q", flush: control.Selection{All: true, Filter: control.Filter{Sender: "a@b"}}}},
		// After the first recipient nothing is an option: it may be anybody's.
		{"a -fb@x -t --config=c", sendmailArgs{Submission: control.Submission{Recipients: []string{"a", "-fb@x", "-t", "--config=c"}}}},
		{"-i -- -t", sendmailArgs{Submission: control.Submission{Recipients: []string{"-t"}}, ignoreDots: true}},
		{"- a", sendmailArgs{Submission: control.Submission{Recipients: []string{"-", "a"}}}},
		{"-N sometimes -N never,delay -R half -V\u00fc a", sendmailArgs{Submission: control.Submission{Recipients: []string{"a"}}, warnings: []string{
			"-N sometimes makes no sense, ignored", "-N never,delay makes no sense, ignored", "-R half is neither full nor hdrs, ignored",
			"-V has more than 100 characters, or strange ones; ignored"}}},
		{"-bp", sendmailArgs{mode: "p"}},
		{"-I", sendmailArgs{mode: "i"}},
		{"--state s --config=c a", sendmailArgs{Submission: control.Submission{Recipients: []string{"a"}}, call: call{state: "s", config: "c"}}},
	} {
		got, err := parseSendmail(strings.Fields(c.args))
		if err != nil || !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%s: %+v, %v", c.args, got, err)
		}
	}
	got, err := parseSendmail([]string{"-f", "", "a"})
	if err != nil || got.From != "<>" {
		t.Errorf("an empty sender: %+v, %v", got, err)
	}
	for _, args := range []string{"-f", "-Z", "-n", "-bd", "-bz", "-tZ", "-qX", "-qR", "-XV", "-t -bp", "--unknown", "--state"} {
		if _, err := parseSendmail(strings.Fields(args)); err == nil {
			t.Errorf("%s: no error", args)
		}
	}
}

func TestCollect(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	big := strings.Repeat("0123456\n", (inMemory+100)/8)
	for _, c := range []struct {
		in     string
		ignore bool
		want   string
	}{
		{"", false, ""},
		{"a\nb\n", false, "a\nb\n"},
		{"a\n.\nb\n", false, "a\n"},
		{"a\r\n.\r\nb\r\n", false, "a\r\n"},
		{".\na", false, ""},
		{"a\n.", false, "a\n"},
		{"a\n..\n.b\n", false, "a\n..\n.b\n"},
		{"a\n.\nb\n", true, "a\n.\nb\n"},
		{long + ".\n" + long, false, long + ".\n" + long},
		{long + "\n.\n" + long, false, long + "\n"},
		{big + ".\nrest", false, big},
		{big + big, true, big + big},
	} {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(c.in), "halves": iotest.HalfReader(strings.NewReader(c.in))} {
			if !c.ignore {
				r = &untilDot{r: bufio.NewReaderSize(r, 64<<10), start: true}
			}
			m, err := collect(r, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // it can be read again
				got, err := io.ReadAll(m.reader())
				if err != nil || string(got) != c.want || m.size != int64(len(c.want)) {
					t.Errorf("%s of %.20q (%d octets): %d octets, size %d, want %d; %v", name, c.in, len(c.in), len(got), m.size, len(c.want), err)
				}
			}
			m.Close()
		}
	}
	broken := errors.New("broken")
	for _, in := range []string{"a\n", big + big} {
		if _, err := collect(io.MultiReader(strings.NewReader(in), iotest.ErrReader(broken)), 1<<30); !errors.Is(err, broken) {
			t.Errorf("a broken pipe: %v", err)
		}
		n := int64(len(in))
		if _, err := collect(strings.NewReader(in), n-1); !errors.Is(err, errTooLong) {
			t.Errorf("above the limit: %v", err)
		}
		if m, err := collect(strings.NewReader(in), n); err != nil || m.size != n {
			t.Errorf("at the limit: %v", err)
		}
	}
}

func FuzzUntilDot(f *testing.F) {
	f.Add("a\n.\nb")
	f.Add(strings.Repeat("x", 16) + "\n.\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		// A small buffer splits lines at every place.
		got, err := io.ReadAll(&untilDot{r: bufio.NewReaderSize(strings.NewReader(in), 16), start: true})
		if err != nil {
			t.Fatal(err)
		}
		var want strings.Builder
		for line := range strings.Lines(in) {
			if line == ".\n" || line == ".\r\n" || line == "." {
				break
			}
			want.WriteString(line)
		}
		if string(got) != want.String() {
			t.Errorf("%q: %q, want %q", in, got, want.String())
		}
	})
}

func TestSubmitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
	}{
		{fmt.Errorf("%w (nothing answers)", control.ErrNotRunning), exTempFail},
		{io.ErrUnexpectedEOF, exTempFail},
		{&control.Error{Code: control.CodeFull}, exTempFail},
		{&control.Error{Code: control.CodeInternal}, exTempFail},
		{&control.Error{Code: control.CodeBadRequest}, exUsage},
		{&control.Error{Code: control.CodeNoSuchUser}, exNoUser},
		{&control.Error{Code: control.CodeTooLarge}, exDataErr},
		{&control.Error{Code: control.CodeForbidden}, exNoPerm},
		{fmt.Errorf("socket: %w", fs.ErrPermission), exNoPerm},
		{fmt.Errorf("recipient: %w", mail.ErrAddress), exUsage},
	} {
		if got := submitCode(c.err); got != c.code {
			t.Errorf("%v: %d, want %d", c.err, got, c.code)
		}
	}
}

// FuzzDialogue throws octets at -bs: it must end, and must not
// take half a message for one. The daemon is not there, nor a maildrop.
func FuzzDialogue(f *testing.F) {
	f.Add("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nhi\r\n..\r\n.\r\nQUIT\r\n")
	f.Add("MAIL FROM:<\"a>b\"@c> SIZE=1 BODY=8BITMIME\nRSET\nNOOP\nVRFY\nHELP\nAUTH\n")
	f.Add(strings.Repeat("x", 70<<10) + "\n")
	dir := f.TempDir()
	cfg := config.Default()
	f.Fuzz(func(t *testing.T, in string) {
		var out strings.Builder
		a := &sendmailArgs{}
		a.streams = streams{in: strings.NewReader(in), out: &out, err: io.Discard}
		err := a.dialogue(t.Context(), place{cfg: cfg, state: dir, socket: dir + "/none", maildrop: dir + "/none"})
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			if len(line) < 6 || !strings.HasSuffix(line, "\r\n") || strings.ContainsAny(line[:len(line)-2], "\r\n") {
				t.Fatalf("a reply %q", line)
			}
			if strings.HasPrefix(line, "250 2.0.0 accepted") {
				t.Fatal("accepted by nobody")
			}
		}
	})
}

func TestStuffed(t *testing.T) {
	long := strings.Repeat("x", 100)
	for in, want := range map[string]string{
		".\r\n":                       "",
		"a\r\n..b\r\n.c\r\n.\r\nrest": "a\r\n.b\r\nc\r\n",
		"a\n.\nrest":                  "a\n",
		long + ".\r\n.\r\n":           long + ".\r\n",
	} {
		got, err := io.ReadAll(&stuffed{r: bufio.NewReaderSize(iotest.HalfReader(strings.NewReader(in)), 16), start: true})
		if err != nil || string(got) != want {
			t.Errorf("%q: %q, want %q, %v", in, got, want, err)
		}
	}
	for _, in := range []string{"", "a\r\n", ".", "a\r\n."} {
		if _, err := io.ReadAll(&stuffed{r: bufio.NewReader(strings.NewReader(in)), start: true}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %v", in, err)
		}
	}
}
