package config

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

const exampleFile = "../../config.toml.example"

// setting matches a line of the example that is a setting taken out: comments
// in words have a space behind the "#".
var setting = regexp.MustCompile(`^#(\[\[?([a-z_]+(?:\.[a-z]+)?)\]\]?|("[^"]+"|[a-z_][a-z0-9_]*) = (.*))$`)

// exampleText returns the example with all settings put back.
func exampleText(t *testing.T) (asIs, full string) {
	t.Helper()
	b, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	for i, l := range lines {
		if setting.MatchString(l) {
			lines[i] = l[1:]
		}
	}
	return string(b), strings.Join(lines, "\n")
}

func equal(t *testing.T, what string, got, want Config) {
	t.Helper()
	got.source, want.source = source{}, source{}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func TestExampleAsItIsIsTheDefault(t *testing.T) {
	asIs, _ := exampleText(t)
	c, err := parse(exampleFile, asIs)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "example as it is", *c, *Default())
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}

func TestExampleStatesTheDefaults(t *testing.T) {
	_, full := exampleText(t)
	c, err := parse(exampleFile, full)
	if err != nil {
		t.Fatal(err)
	}
	// What is made up in the example; its defaults are stated in words.
	d := Default()
	for _, n := range []int{len(c.Domains), len(c.Accounts), len(c.Aliases), len(c.Groups), len(c.Shared), len(c.Masquerade), len(c.Routes), len(c.Milters), len(c.Archives), len(c.Applications), len(c.Certificates)} {
		if n == 0 {
			t.Error("the example has no [[domain]], [[account]], [aliases], [[route]] or [[milter]]")
		}
	}
	c.Domains, c.Accounts, c.Aliases, c.Routes = d.Domains, d.Accounts, d.Aliases, d.Routes
	c.Groups, c.Shared, c.Masquerade = d.Groups, d.Shared, d.Masquerade
	c.Milters = d.Milters
	c.Archives = d.Archives
	c.Applications, c.Certificates = d.Applications, d.Certificates
	equal(t, "example with all settings put back", *c, *d)
}

// TestExampleIsValid checks the made-up values too, given the credentials.
func TestExampleIsValid(t *testing.T) {
	_, full := exampleText(t)
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	for _, name := range []string{"alice", "dkim", "invoices", "smarthost", "webhook", "token"} {
		write(t, dir+"/"+name, "a secret of some length\n")
	}
	c, err := parse(exampleFile, full)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}

func TestExampleHasEveryKey(t *testing.T) {
	asIs, _ := exampleText(t)
	stated := make(map[string]string) // section.key to the comment above
	section, comment := "", ""
	for line := range strings.Lines(asIs) {
		line = strings.TrimSpace(line)
		m := setting.FindStringSubmatch(line)
		switch {
		case m == nil && strings.HasPrefix(line, "#"):
			comment += strings.TrimPrefix(line, "#")
		case m == nil:
			comment = ""
		case m[2] != "":
			section, comment = m[2]+".", ""
		default:
			if _, ok := stated[section+m[3]]; !ok {
				stated[section+m[3]] = comment
			}
			if section != "" && isList(section) {
				comment = "" // one comment for each key
			}
		}
	}
	for _, f := range fieldsOf(reflect.TypeFor[Config]()) {
		ft := reflect.TypeFor[Config]().FieldByIndex(f.index).Type
		switch {
		case ft.Kind() == reflect.Struct:
			for _, g := range fieldsOf(ft) {
				if stated[f.key+"."+g.key] == "" {
					t.Errorf("[%s] %s is not explained in the example", f.key, g.key)
				}
			}
		case ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct:
			for _, g := range fieldsOf(ft.Elem()) {
				if inner := ft.Elem().FieldByIndex(g.index).Type; inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct {
					for _, h := range fieldsOf(inner.Elem()) {
						checkStated(t, f.key+"."+g.key, h, stated[f.key+"."+g.key+"."+h.key])
					}
					continue
				}
				checkStated(t, f.key, g, stated[f.key+"."+g.key])
			}
		case ft.Kind() == reflect.Map:
			// Its keys are free; that there are some is tested above.
		case stated[f.key] == "":
			t.Errorf("%s is not explained in the example", f.key)
		}
	}
}

func isList(section string) bool {
	section, _, inner := strings.Cut(strings.TrimSuffix(section, "."), ".")
	if inner {
		return true
	}
	for _, f := range fieldsOf(reflect.TypeFor[Config]()) {
		if f.key == section {
			return reflect.TypeFor[Config]().FieldByIndex(f.index).Type.Kind() == reflect.Slice
		}
	}
	return false
}

var defaultText = regexp.MustCompile(`Default: ("[^"]*"|\[\]|[a-z0-9]+)`)

// checkStated compares the default that a comment states with the type's.
func checkStated(t *testing.T, section string, f field, comment string) {
	t.Helper()
	if strings.Contains(comment, "Required.") {
		return
	}
	m := defaultText.FindStringSubmatch(comment)
	if m == nil {
		t.Errorf("[[%s]] %s: the example says neither Required nor its Default: %q", section, f.key, comment)
		return
	}
	element := func(text string) any {
		outer, inner, nested := strings.Cut(section, ".")
		file := "[[" + outer + "]]\n"
		if nested {
			file += "[[" + section + "]]\n"
		}
		c, err := parse("x", file+text)
		if err != nil {
			t.Fatalf("[[%s]] %s: %v", section, f.key, err)
		}
		v := keyed(reflect.ValueOf(c).Elem(), outer).Index(0)
		if nested {
			v = keyed(v, inner).Index(0)
		}
		v = v.FieldByIndex(f.index)
		if v.Kind() == reflect.Slice && v.Len() == 0 {
			return nil
		}
		return v.Interface()
	}
	if got, want := element(f.key+" = "+m[1]), element(""); !reflect.DeepEqual(got, want) {
		t.Errorf("[[%s]] %s: the example states the default %v, it is %v", section, f.key, got, want)
	}
}

// keyed is the field of a struct that has a key.
func keyed(v reflect.Value, key string) reflect.Value {
	for _, f := range fieldsOf(v.Type()) {
		if f.key == key {
			return v.FieldByIndex(f.index)
		}
	}
	return reflect.Value{}
}
