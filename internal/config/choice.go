package config

import "fmt"

// Choice is a switch in the file that may be left to the program: true, false,
// or "auto".
type Choice uint8

// The choices. Auto is the zero value.
const (
	Auto Choice = iota
	Yes
	No
)

// Or returns the choice, with a value in the place of Auto.
func (c Choice) Or(auto bool) bool { return c == Yes || c == Auto && auto }

// UnmarshalText reads "true", "false" and "auto".
func (c *Choice) UnmarshalText(b []byte) error {
	for value, text := range map[Choice]string{Auto: "auto", Yes: "true", No: "false"} {
		if text == string(b) {
			*c = value
			return nil
		}
	}
	return fmt.Errorf(`%q must be true, false or "auto"`, b)
}
