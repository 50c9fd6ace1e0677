package screen

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	small := Size{Rows: 4, Cols: 10}
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
		if got := Text(c.in, small); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := Text("one\ntwo\n", Size{}); got != "one\ntwo\n" {
		t.Errorf("lines of a command without a terminal: %q", got)
	}
	long := strings.Repeat("x", 5000)
	if got := Text(long+"\n"+long, Size{}); got != long+"\n"+long {
		t.Error("a long line of a command without a terminal is changed")
	}
}

// What a guest writes takes neither much time nor much memory.
func TestTextIsBounded(t *testing.T) {
	size := Size{Rows: 65535, Cols: 65535}
	for _, each := range []string{
		"\x1b[9999;9999Hx", "x\x1b[9999999b", "\x1b[9999@x\r", "\x1b[9999Lx\n", "\n\x1b[999Cx", "\x1b[9999T",
		"\x1b]",
		"\x1b[?1049hx\x1b[?1049l", "e\u0301", "\x1b[1;99999999999999999999Hx",
	} {
		in := strings.Repeat(each, (64<<10)/len(each))
		if out := Text(in, size); len(out) > 16*len(in)+4*mostPadding {
			t.Errorf("%q: %d bytes out of %d", each, len(out), len(in))
		}
	}
}

func FuzzText(f *testing.F) {
	for _, seed := range []string{
		"\x1b[?1049h\x1b[2;3r\x1b[3;1H\nx\x1b[r\x1b[?1049l",
		"漢字e\u0301\x1b[5@\x1b[2P\x1b[1K\x1b(0q\x0e", "\x1b]0;t\x1b\\\x1bP",
		"\x1b[4L\x1b[2M\x1b[3S\x1b[3T\x1b[3J\x1bc\x1b7\x1b8\x1bM\x1bD\x1b[5b",
	} {
		f.Add(seed, uint16(5), uint16(7))
	}
	f.Fuzz(func(t *testing.T, in string, rows, cols uint16) {
		out := Text(strings.ToValidUTF8(in, "?"), Size{Rows: rows, Cols: cols})
		control := func(r rune) bool { return r < ' ' && r != '\n' }
		if !utf8.ValidString(out) || strings.ContainsFunc(out, control) {
			t.Errorf("%q", out)
		}
		if n := WholeSequences([]byte(in)); n < 0 || n > len(in) {
			t.Errorf("%d of %d bytes are whole", n, len(in))
		}
	})
}
