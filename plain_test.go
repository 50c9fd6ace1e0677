package pyro

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pyro-mcp/pyro/internal/link"
)

func TestPlainText(t *testing.T) {
	small := TerminalSize{Rows: 4, Cols: 10}
	for _, c := range []struct{ name, in, want string }{
		{"text", "one\r\ntwo\r\n", "one\ntwo\n"},
		{"a prompt", "one\r\n$ ", "one\n$"},
		{"colours", "\x1b[1;31mred\x1b[0m \x1b[38;5;12mx\x1b[m", "red x"},
		{"a counter", "10%\r20%\r100%\r\n", "100%\n"},
		{"backspaces", "ab\b\b12\b \b3", "13"},
		{"tabs", "a\tb", "a       b"},
		{"wrapped lines are one", "0123456789abcdefghij!", "0123456789abcdefghij!"},
		{"a line as long as the screen", "0123456789\r\nnext", "0123456789\nnext"},
		{"readline at the margin", "$ 23456789 \r0abc", "$ 234567890abc"},
		{"a line that begins anew", "0123456789ab\r\x1b[A\x1b[KX\x1b[Ky", "Xy\nab"},
		{"what is scrolled out stays", "1\r\n2\r\n3\r\n4\r\n5\r\n6", "1\n2\n3\n4\n5\n6"},
		{"places are the screen's", "1\r\n2\r\n3\r\n4\r\n5\x1b[1;1HX", "1\nX\n3\n4\n5"},
		{"clear", "one\r\ntwo\x1b[H\x1b[2J\x1b[3Jthree", "three"},
		{"erase below", "one\r\ntwo\r\nthree\x1b[2;2H\x1b[J", "one\nt"},
		{"erase above", "one\r\ntwo\x1b[1J!", "\n   !"},
		{"erase in a line", "abcdef\x1b[3D\x1b[X\x1b[1K!", "   !ef"},
		{"insert and delete", "abcdef\x1b[4D\x1b[2@12\x1b[P\x1b[Px", "ab12xf"},
		{"insert and delete lines", "1\r\n2\r\n3\x1b[1;1H\x1b[M\x1b[2;1H\x1b[Lx", "2\nx\n3"},
		{"a region that scrolls", "1\r\n2\r\n3\r\n4\x1b[2;3r\x1b[3;1H\nx\x1b[r", "1\n3\nx\n4"},
		{"scrolling back", "1\r\n2\x1b[1;1H\x1bM0", "0\n1\n2"},
		{"index and next line", "a\x1bDb\x1bEc", "a\n b\nc"},
		{"saved places", "ab\x1b7\r\ncd\x1b8x\x1b[sy\x1b[uz", "abxz\ncd"},
		{"repeated", "-\x1b[4bx", "-----x"},
		{"alternate screen", "before\x1b[?1049h\x1b[Hinside", "inside"},
		{"after the alternate screen", "before\x1b[?1049h\x1b[Hinside\x1b[?1049l after", "before after"},
		{"drawn lines", "\x1b(0lqk\x1b(B\x1b)0x\x0ex\x0f", "┌─┐x│"},
		{"wide letters", "漢字\r\x1b[2Cx", "漢x"},
		{"wide letters wrap", "012345678漢", "012345678漢"},
		{"combined letters", "e\u0301x\bo\u0308", "e\u0301o\u0308"},
		{"a title", "\x1b]0;some title\ax\x1b]0;other\x1b\\y", "xy"},
		{"a title that never ends", "\x1b]0;title\r\nx", "\nx"},
		{"broken off", "\x1b[1;2\x1b[31mx\x1b[12\ry", "y"},
		{"not whole", "x\x1b[31", "x"},
		{"nothing of 8-bit controls", "a\u009b1mb\u0085c", "a1mbc"},
		{"reset", "junk\x1bcfresh", "fresh"},
	} {
		if got := plainText(c.in, small); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := plainText("one\ntwo\n", TerminalSize{}); got != "one\ntwo\n" {
		t.Errorf("lines of a command without a terminal: %q", got)
	}
	long := strings.Repeat("x", 5000)
	if got := plainText(long+"\n"+long, TerminalSize{}); got != long+"\n"+long {
		t.Error("a long line of a command without a terminal is changed")
	}
}

// What a guest writes takes neither much time nor much memory.
func TestPlainTextIsBounded(t *testing.T) {
	size := TerminalSize{Rows: 65535, Cols: 65535}
	for _, each := range []string{
		"\x1b[9999;9999Hx", "x\x1b[9999999b", "\x1b[9999@x\r", "\x1b[9999Lx\n", "\n\x1b[999Cx", "\x1b[9999T",
		"\x1b]",
		"\x1b[?1049hx\x1b[?1049l", "e\u0301", "\x1b[1;99999999999999999999Hx",
	} {
		in := strings.Repeat(each, (64<<10)/len(each))
		if out := plainText(in, size); len(out) > 16*len(in)+4*plainPadding {
			t.Errorf("%q: %d bytes out of %d", each, len(out), len(in))
		}
	}
}

func FuzzPlainText(f *testing.F) {
	for _, seed := range []string{
		"\x1b[?1049h\x1b[2;3r\x1b[3;1H\nx\x1b[r\x1b[?1049l",
		"漢字e\u0301\x1b[5@\x1b[2P\x1b[1K\x1b(0q\x0e", "\x1b]0;t\x1b\\\x1bP",
		"\x1b[4L\x1b[2M\x1b[3S\x1b[3T\x1b[3J\x1bc\x1b7\x1b8\x1bM\x1bD\x1b[5b",
	} {
		f.Add(seed, uint16(5), uint16(7))
	}
	f.Fuzz(func(t *testing.T, in string, rows, cols uint16) {
		out := plainText(strings.ToValidUTF8(in, "?"), TerminalSize{Rows: rows, Cols: cols})
		control := func(r rune) bool { return r < ' ' && r != '\n' }
		if !utf8.ValidString(out) || strings.ContainsFunc(out, control) {
			t.Errorf("%q", out)
		}
		if n := wholeSequences([]byte(in)); n < 0 || n > len(in) {
			t.Errorf("%d of %d bytes are whole", n, len(in))
		}
	})
}

// Whatever the pieces in which it is read, neither a sequence nor a character is cut in two.
func TestReadsCutNothing(t *testing.T) {
	const text = "grüße \x1b[1;31m€uro\x1b[0m \x1b]0;title\a漢字\r\n"
	want := plainText(text, TerminalSize{})
	for step := 1; step < len(text); step++ {
		var got strings.Builder
		for at, to := 0, step; at < len(text); to = min(to+step, len(text)) {
			ended := to == len(text)
			piece := []link.JobPiece{{Stream: 3, Data: []byte(text[at:to])}}
			part, taken := readable(piece, ended)
			if !ended {
				taken = wholeSequences(part)
				part = part[:taken]
			}
			got.WriteString(plainText(string(part), TerminalSize{}))
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
