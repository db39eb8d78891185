package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// decoder lays a decoded TOML document over a Config, collecting everything
// that does not fit. The library's own decoder stops at the first misfit.
type decoder struct{ source *source }

func (d *decoder) problem(at keyPath, format string, args ...any) {
	d.source.add(&d.source.problems, at, format, args...)
}

// field is a struct field that has a key.
type field struct {
	key   string
	index []int
}

// fieldsOf returns the fields of a struct, those of embedded ones among them.
func fieldsOf(t reflect.Type) []field {
	var fs []field
	for _, f := range reflect.VisibleFields(t) {
		if key := f.Tag.Get("toml"); key != "" {
			fs = append(fs, field{key, f.Index})
		}
	}
	return fs
}

// table fills a struct, in the order of its fields so that messages have one.
func (d *decoder) table(v reflect.Value, at keyPath, tree map[string]any) {
	known := fieldsOf(v.Type())
	for _, f := range known {
		if value, ok := tree[f.key]; ok {
			d.value(v.FieldByIndex(f.index), at.key(f.key), f.key, value)
		}
	}
	for key := range tree {
		if !slices.ContainsFunc(known, func(f field) bool { return f.key == key }) {
			d.unknown(at, v.Type(), key)
		}
	}
}

func (d *decoder) value(v reflect.Value, at keyPath, key string, value any) {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(u, at, key, value)
		return
	}
	switch v.Kind() {
	case reflect.String:
		if s, ok := value.(string); ok {
			v.SetString(s)
			return
		}
		d.problem(at, "%s must be a string in quotes, not %s", key, describe(value))
	case reflect.Bool:
		if b, ok := value.(bool); ok {
			v.SetBool(b)
			return
		}
		d.problem(at, "%s must be true or false, not %s", key, describe(value))
	case reflect.Int:
		if n, ok := value.(int64); ok && n >= 0 && n <= 1<<31-1 {
			v.SetInt(n)
			return
		}
		d.problem(at, "%s must be a whole number from 0 to 2147483647, not %s", key, describe(value))
	case reflect.Float64:
		switch n := value.(type) {
		case float64:
			v.SetFloat(n)
		case int64:
			v.SetFloat(float64(n))
		default:
			d.problem(at, "%s must be a number, not %s", key, describe(value))
		}
	case reflect.Struct:
		if tree, ok := value.(map[string]any); ok {
			d.table(v, at, tree)
			return
		}
		d.problem(at, "%s is a section: write it as [%s]", key, key)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.String {
			d.strings(v, at, key, value)
			return
		}
		d.tables(v, at, key, value)
	case reflect.Map:
		d.lists(v, at, key, value)
	}
}

// text fills a value that has a text form: a Duration or a Size.
func (d *decoder) text(u encoding.TextUnmarshaler, at keyPath, key string, value any) {
	var s string
	switch x := value.(type) {
	case string:
		s = x
	case int64:
		// A bare number has a meaning for a Size and for no Duration.
		s = fmt.Sprint(x)
	default:
		s = describe(value)
	}
	if err := u.UnmarshalText([]byte(s)); err != nil {
		d.problem(at, "%s: %s", key, err)
	}
}

// strings fills a list of strings, or makes one out of a single string.
func (d *decoder) strings(v reflect.Value, at keyPath, key string, value any) {
	if s, ok := value.(string); ok {
		value = []any{s}
	}
	list, ok := value.([]any)
	if !ok {
		d.problem(at, `%s must be a list of strings, ["…", "…"], not %s`, key, describe(value))
		return
	}
	out := make(Strings, 0, len(list))
	for i, e := range list {
		s, ok := e.(string)
		if !ok {
			d.problem(at.index(i), "%s must have strings in its list, not %s", key, describe(e))
			continue
		}
		out = append(out, s)
	}
	v.Set(reflect.ValueOf(out))
}

// tables fills an array of tables, each on top of its type's defaults.
func (d *decoder) tables(v reflect.Value, at keyPath, key string, value any) {
	var list []map[string]any
	switch x := value.(type) {
	case []map[string]any:
		list = x
	case []any:
		for _, e := range x {
			if m, ok := e.(map[string]any); ok {
				list = append(list, m)
			}
		}
		if len(list) != len(x) {
			list = nil
		}
	}
	if list == nil {
		d.problem(at, "%s is a repeated section: begin each one with [[%s]]", key, key)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(list), len(list)))
	for i, tree := range list {
		e := v.Index(i)
		if x, ok := e.Addr().Interface().(interface{ setDefaults() }); ok {
			x.setDefaults()
		}
		d.table(e, at.index(i), tree)
	}
}

// lists fills a map of lists, whose keys are free.
func (d *decoder) lists(v reflect.Value, at keyPath, key string, value any) {
	tree, ok := value.(map[string]any)
	if !ok {
		d.problem(at, "%s is a section: write it as [%s]", key, key)
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for name, list := range tree {
		if _, ok := list.(map[string]any); ok {
			// A bare key with dots in it is a path of tables in TOML.
			d.problem(at.key(name), `%s: put the address on the left in quotes: "%s@example.org" = [...]`, key, name)
			continue
		}
		e := reflect.New(v.Type().Elem()).Elem()
		d.strings(e, at.key(name), fmt.Sprintf("%q", name), list)
		v.SetMapIndex(reflect.ValueOf(name), e)
	}
}

// unknown reports a key that is not there, with the likeliest one meant.
func (d *decoder) unknown(at keyPath, t reflect.Type, key string) {
	if where, ok := sectionOf(key); ok {
		d.problem(at.key(key), "unknown key %q %s; it belongs %s", key, placeName(at), where)
		return
	}
	best, distance := "", min(3, 1+len(key)/3)+1
	for _, f := range fieldsOf(t) {
		if n := editDistance(key, f.key); n < distance {
			best, distance = f.key, n
		}
	}
	if best == "" {
		d.problem(at.key(key), "unknown key %q %s; remove it, config.toml.example lists all keys", key, placeName(at))
		return
	}
	d.problem(at.key(key), "unknown key %q %s; did you mean %q?", key, placeName(at), best)
}

// sectionOf finds the one section that has a key; a key that stands below the
// wrong header is the commonest slip in TOML.
func sectionOf(key string) (where string, ok bool) {
	t := reflect.TypeFor[Config]()
	found := 0
	for _, f := range fieldsOf(t) {
		if f.key == key {
			where, found = "at the top of the file, above the first [section]", found+1
		}
		ft, brackets := t.FieldByIndex(f.index).Type, "in [%s]"
		if ft.Kind() == reflect.Slice {
			ft, brackets = ft.Elem(), "in [[%s]]"
		}
		if ft.Kind() != reflect.Struct {
			continue
		}
		for _, g := range fieldsOf(ft) {
			if g.key == key {
				where, found = fmt.Sprintf(brackets, f.key), found+1
			}
		}
	}
	return where, found == 1
}

// placeName names the section of a path for a message.
func placeName(at keyPath) string {
	if len(at) == 0 {
		return "at the top of the file"
	}
	name := strings.Trim(at[0], `"`)
	if len(at) > 3 {
		return "in [[" + name + "." + strings.Trim(at[2], `"`) + "]]"
	}
	if len(at) > 1 {
		return "in [[" + name + "]]"
	}
	return "in [" + name + "]"
}

// describe names a value for a message.
func describe(value any) string {
	switch x := value.(type) {
	case string:
		return fmt.Sprintf("the string %q", x)
	case int64, float64, bool:
		return fmt.Sprint(x)
	case []any, []map[string]any:
		return "a list"
	case map[string]any:
		return "a section"
	}
	return "a date"
}

// editDistance is Levenshtein's, for keys: anything long is just far.
func editDistance(a, b string) int {
	const far = 64
	if len(a) > far || len(b) > far {
		return far
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
