package badger

// stories looks at the records of the messages' stories. A message needs none,
// and a story no message; but events need a beginning.
func (c *checker) stories() error {
	if err := c.each([]byte{kStory}, func(key, p []byte, err error) error {
		if len(key) != keyLength(kStory) {
			return nil // told already
		}
		if err == nil {
			_, err = decodeStory(idOf(key), p)
		}
		if err != nil {
			c.find(damageRecord, c.keyText(key), c.takeAside(key, nil), "%s", why(err))
		}
		return nil
	}); err != nil {
		return err
	}
	for _, kind := range []byte{kTaskEvents, kNotes} {
		if err := c.each([]byte{kind}, c.eventsOf); err != nil {
			return err
		}
	}
	return nil
}

// eventsOf looks at one record of events.
func (c *checker) eventsOf(key, p []byte, err error) error {
	if len(key) != keyLength(key[0]) {
		return nil // told already
	}
	id := idOf(key)
	if err == nil {
		_, err = decodeEvents(id, p)
	}
	if err != nil {
		c.find(damageRecord, c.keyText(key), c.takeAside(key, nil), "%s", why(err))
		return nil
	}
	there, err := c.t.has(idKey(kStory, id))
	if err == nil && !there {
		c.find(damageStray, c.keyText(key), c.takeAside(key, nil), "events of a story that is not there")
	}
	return err
}
