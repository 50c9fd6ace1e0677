package pyro

import (
	"strings"
	"testing"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/screen"
)

// Whatever the pieces in which it is read, neither a sequence nor a character is cut in two.
func TestReadsCutNothing(t *testing.T) {
	const text = "grüße \x1b[1;31m€uro\x1b[0m \x1b]0;title\a漢字\r\n"
	want := screen.Text(text, screen.Size{})
	for step := 1; step < len(text); step++ {
		var got strings.Builder
		for at, to := 0, step; at < len(text); to = min(to+step, len(text)) {
			ended := to == len(text)
			piece := []link.JobPiece{{Stream: 3, Data: []byte(text[at:to])}}
			part, taken := readable(piece, ended)
			if !ended {
				taken = screen.WholeSequences(part)
				part = part[:taken]
			}
			got.WriteString(screen.Text(string(part), screen.Size{}))
			at += taken
		}
		// A read's last line ends without the blanks that the next one begins after.
		if strings.ReplaceAll(got.String(), " ", "") != strings.ReplaceAll(want, " ", "") {
			t.Errorf("in steps of %d: %q, want %q", step, got.String(), want)
		}
	}
}

// A character that both streams interrupt is put together; one whose end is still to come is left.
func TestCharactersOfTwoStreams(t *testing.T) {
	piece := func(stream uint8, data string) link.JobPiece {
		return link.JobPiece{Stream: stream, Data: []byte(data)}
	}
	for _, c := range []struct {
		pieces []link.JobPiece
		all    bool
		text   string
		taken  int
	}{
		{[]link.JobPiece{piece(3, "a\xe2\x82"), piece(4, "err"), piece(3, "\xacb")}, false, "aerr€b", 8},
		{[]link.JobPiece{piece(3, "a\xe2\x82"), piece(4, "err")}, false, "a", 1},
		{[]link.JobPiece{piece(3, "a\xe2\x82"), piece(4, "err")}, true, "aerr\xe2\x82", 6},
		{[]link.JobPiece{piece(3, "\xe2\x82"), piece(4, "err")}, false, "err\xe2\x82", 5},
		{[]link.JobPiece{piece(3, "\xe2\x82")}, false, "", 0},
		{
			[]link.JobPiece{piece(3, "\xe2"), piece(4, "x"), piece(3, "\x82"), piece(4, "y\xe2")},
			false, "xy\xe2\x82\xe2", 5,
		},
		{[]link.JobPiece{piece(3, "\xff\xfe")}, false, "\xff\xfe", 2},
		{nil, false, "", 0},
	} {
		text, taken := readable(c.pieces, c.all)
		// Both rests may come first, if all is given.
		wrong := string(text) != c.text && !strings.Contains(c.text, "xy")
		if len(text) != len(c.text) || wrong || taken != c.taken {
			t.Errorf("%q: %q and %d, want %q and %d", c.pieces, text, taken, c.text, c.taken)
		}
	}
}
