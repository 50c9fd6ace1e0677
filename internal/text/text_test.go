package text

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestLine(t *testing.T) {
	for _, c := range []struct {
		in, line string
		length   int64
		err      error
	}{
		{"", "", 0, io.EOF},
		{"\n", "", 1, nil},
		{"0123456789\nnext", "0123456789", 11, nil},
		{"01234567890\nnext", "012", 12, ErrTooLong},
		{strings.Repeat("x", 100) + "\nnext", "xxx", 101, ErrTooLong},
		{"cut", "cut", 3, io.EOF},
		{strings.Repeat("x", 100), "xxx", 100, io.EOF},
	} {
		r := bufio.NewReaderSize(strings.NewReader(c.in), 16)
		line, length, err := Line(r, 10, 3)
		if string(line) != c.line || length != c.length || !errors.Is(err, c.err) {
			t.Errorf("%q: %q, %d, %v", c.in, line, length, err)
		}
		if rest, _ := io.ReadAll(r); strings.HasSuffix(c.in, "next") != (string(rest) == "next") {
			t.Errorf("%q: %q is left", c.in, rest)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"debian:12", "debian:12-base", "status", "start"}
	for name, want := range map[string]string{
		"debain:12":              "debian:12",
		"debian:13":              "debian:12",
		"stauts":                 "status",
		"staert":                 "start",
		"fedora":                 "",
		strings.Repeat("x", 1e6): "",
	} {
		if got := Nearest(name, known); got != want {
			t.Errorf("%.20q: %q", name, got)
		}
	}
}
