package config

// Check looks for everything that cannot work, including what Load found, and
// returns it as Problems, or nil. It reads the certificate, the key and the
// files of secrets, as the user it runs as.
func (c *Config) Check() error {
	ch := checker{config: c}
	ch.problems = append(ch.problems, c.source.problems...)
	ch.general()
	return ch.problems.err()
}

type checker struct {
	config   *Config
	problems Problems
}

func (ch *checker) problem(at keyPath, format string, args ...any) {
	ch.config.source.add(&ch.problems, at, format, args...)
}

func (ch *checker) general() {}
