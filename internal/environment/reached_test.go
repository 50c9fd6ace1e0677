package environment

import (
	"errors"
	"testing"
)

func TestPlainly(t *testing.T) {
	for said, want := range map[string]string{
		`Get "https://h:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused; ` +
			`Get "http://h:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused`: "connection refused",
		`Get "http://no.such/": dial tcp: lookup no.such on 10.0.0.1:53: no such host`: "lookup no.such: no such host",
		`read tcp 10.0.0.1:4->10.0.0.2:80: read: connection reset by peer`:             "connection reset by peer",
		`Get "https://x/": context deadline exceeded`:                                  "context deadline exceeded",
	} {
		if got := Plainly(errors.New(said)); got != want {
			t.Errorf("%s: %q, want %q", said, got, want)
		}
	}
}
