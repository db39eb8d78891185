package migrate

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"restante/internal/control"
	"restante/spool"
)

// Names says where folders go.
type Names struct {
	// Map has targets by the name of a folder; what is below goes along.
	Map map[string]string
	// Skip are folders that are left out, with what is below them.
	Skip []string
	// Only, unless it is empty, are those that are not left out.
	Only []string
}

// check refuses names of folders that are not there: a typo must not pass.
func (n Names) check(folders []Folder) error {
	there := func(name string) bool {
		return slices.ContainsFunc(folders, func(f Folder) bool { return below(f.Name, name) })
	}
	for _, list := range [][]string{n.Skip, n.Only, keys(n.Map)} {
		for _, name := range list {
			if !there(name) {
				return fmt.Errorf("there is no folder %q", name)
			}
		}
	}
	return nil
}

func keys(m map[string]string) (list []string) {
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// below tells whether a name is parent or lies below it.
func below(name, parent string) bool {
	return name == parent || strings.HasPrefix(name, parent+spool.Separator)
}

// target is the mailbox that a folder goes to, or why there is none. have are
// the mailboxes that there are.
func (n Names) target(f Folder, have []control.Mailbox) (name, why string) {
	covers := func(parent string) bool { return below(f.Name, parent) }
	if slices.ContainsFunc(n.Skip, covers) || len(n.Only) > 0 && !slices.ContainsFunc(n.Only, covers) {
		return "", "not asked for"
	}
	from := ""
	for source := range n.Map {
		if covers(source) && len(source) >= len(from) {
			from = source
		}
	}
	switch {
	case from != "":
		name = n.Map[from] + strings.TrimPrefix(f.Name, from)
	case f.LeftOut != "":
		return "", f.LeftOut
	default:
		name = f.Name
		if f.Use != spool.UseNone {
			for _, m := range have {
				if m.Use == f.Use {
					name = m.Name
				}
			}
		}
	}
	name = tidy(name)
	if err := spool.CheckName(name); err != nil {
		return "", err.Error() + "; give it another name"
	}
	return name, ""
}

// tidy takes out of a name what no mailbox here can have.
func tidy(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || strings.ContainsRune("*%", r) {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	levels := strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
	return spool.CanonicalName(strings.Join(levels, spool.Separator))
}

// wellKnown are the names by which programs call their folders when nothing
// tells the use, in lower case.
var wellKnown = map[spool.Use][]string{
	spool.UseSent:    {"sent", "sent items", "sent messages", "sent mail", "sent-mail"},
	spool.UseDrafts:  {"drafts", "draft"},
	spool.UseTrash:   {"trash", "deleted items", "deleted messages"},
	spool.UseJunk:    {"junk", "spam", "junk e-mail", "junk email", "bulk mail"},
	spool.UseArchive: {"archive", "archives"},
}

// guessUses gives the folders of well-known names their use, where the source
// did not tell who has it.
func guessUses(folders []Folder) {
	for use, names := range wellKnown {
		if slices.ContainsFunc(folders, func(f Folder) bool { return f.Use == use }) {
			continue
		}
	search:
		for _, name := range names {
			for i := range folders {
				if strings.ToLower(folders[i].Name) == name {
					folders[i].Use = use
					break search
				}
			}
		}
	}
}

// sortFolders puts folders in the order in which they are brought over.
func sortFolders(folders []Folder) {
	slices.SortFunc(folders, func(a, b Folder) int { return spool.CompareNames(a.Name, b.Name) })
}
