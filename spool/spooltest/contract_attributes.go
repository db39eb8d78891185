package spooltest

import (
	"fmt"
	"maps"
	"slices"

	"restante/spool"
)

func attributeTests() []contractTest {
	return []contractTest{
		{"Attributes", testAttributes},
		{"AttributesOfDeleted", testAttributesOfDeleted},
		{"AttributeBounds", testAttributeBounds},
	}
}

// attributes demands that a mailbox has these.
func (c *contract) attributes(id spool.MailboxID, want map[string]string) {
	c.Helper()
	got, err := c.store.Attributes(id)
	c.must(err)
	if !maps.Equal(got, want) {
		c.Errorf("attributes are %q, want %q", got, want)
	}
}

func (c *contract) having(name string, want ...spool.MailboxID) {
	c.Helper()
	got, err := c.store.HaveAttribute(name)
	c.must(err)
	if !slices.Equal(got, want) {
		c.Errorf("mailboxes %v have %q, want %v", got, name, want)
	}
}

func testAttributes(c *contract) {
	a, b := c.create("alice", "a"), c.create("bob", "b")
	c.attributes(a.ID, map[string]string{})
	one, empty, odd := "1", "", "x\x00\xff"
	c.must(c.store.SetAttributes(a.ID, map[string]*string{"one": &one, "empty": &empty, "odd\x00": &odd}))
	c.must(c.store.SetAttributes(b.ID, map[string]*string{"one": &odd}))
	c.must(c.store.RenameMailbox("alice", "a", "c"))
	c.lasting(func() {
		c.attributes(a.ID, map[string]string{"one": "1", "empty": "", "odd\x00": odd})
		c.attributes(b.ID, map[string]string{"one": odd})
		c.having("one", a.ID, b.ID)
		c.having("empty", a.ID)
		c.having("on")
		if row, err := c.store.MailboxByID(a.ID); err != nil || row.ModSeq != a.ModSeq {
			c.Errorf("attributes moved the modseq: %+v, %v", row, err)
		}
	})
	c.must(c.store.SetAttributes(a.ID, map[string]*string{"one": &odd, "empty": nil, "never": nil}))
	c.lasting(func() {
		c.attributes(a.ID, map[string]string{"one": odd, "odd\x00": odd})
		c.having("empty")
	})
}

func testAttributesOfDeleted(c *contract) {
	a := c.create("alice", "a")
	one := "1"
	c.must(c.store.SetAttributes(a.ID, map[string]*string{"one": &one}))
	c.must(c.store.DeleteMailbox("alice", "a"))
	again := c.create("alice", "a")
	c.lasting(func() {
		c.having("one")
		c.attributes(again.ID, map[string]string{})
		_, err := c.store.Attributes(a.ID)
		c.wants(err, spool.ErrNoMailbox, "attributes of a deleted mailbox")
		c.wants(c.store.SetAttributes(a.ID, map[string]*string{"one": &one}), spool.ErrNoMailbox, "to set them")
	})
}

func testAttributeBounds(c *contract) {
	a := c.create("alice", "a")
	value := string(make([]byte, spool.MaxAttributeValue))
	name := string(make([]byte, spool.MaxAttributeName))
	c.must(c.store.SetAttributes(a.ID, map[string]*string{name: &value}))
	large := value + "x"
	for _, bad := range []map[string]*string{{"": &name}, {name + "x": &name}, {"x": &name, "y": &large}} {
		c.wants(c.store.SetAttributes(a.ID, bad), spool.ErrAttributes, "out of bounds")
	}
	one, most := "1", make(map[string]*string)
	for i := range spool.MaxAttributes - 1 {
		most[fmt.Sprint(i)] = &one
	}
	c.must(c.store.SetAttributes(a.ID, most))
	c.wants(c.store.SetAttributes(a.ID, map[string]*string{"more": &one, "0": &large, "x": nil}), spool.ErrAttributes, "one too many")
	c.must(c.store.SetAttributes(a.ID, map[string]*string{"more": &one, "0": nil}))
	c.having("more", a.ID)
	c.having("0")
}
