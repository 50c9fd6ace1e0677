package environment

import (
	"regexp"
	"slices"
	"strings"
)

// What net/http, net and the Go runtime say before the reason that a person wants to know.
var goWords = []*regexp.Regexp{
	regexp.MustCompile(`(Get|Head|Post) "[^"]*": `),
	regexp.MustCompile(`\b(dial|read|write) (tcp|udp|unix)[46]?( \S+)?: `),
	regexp.MustCompile(`\b(connect|read|write|setsockopt): `),
	regexp.MustCompile(` on \S+:53\b`),
}

// Plainly gives the words of a failed connection without those that are about how it was asked for, which
// stand in the sentence around them or say nothing to the caller. Reasons that are the same are given once.
func Plainly(err error) string {
	text := err.Error()
	for _, words := range goWords {
		text = words.ReplaceAllString(text, "")
	}
	reasons := strings.Split(text, "; ")
	slices.Sort(reasons)
	return strings.Join(slices.Compact(reasons), "; ")
}

// unreached is a request that no server answered.
type unreached struct{ cause error }

func (u unreached) Error() string { return Plainly(u.cause) }
func (u unreached) Unwrap() error { return u.cause }
