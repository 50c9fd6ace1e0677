package pyro

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// whole is how many of a text's bytes make whole characters. The last may still be on its way, unless all has
// come.
func whole(text []byte, all bool) int {
	if all {
		return len(text)
	}
	for i := len(text) - 1; i >= 0 && i >= len(text)-utf8.UTFMax; i-- {
		if utf8.RuneStart(text[i]) {
			if !utf8.FullRune(text[i:]) {
				return i
			}
			break
		}
	}
	return len(text)
}

// Bounds of a screen that is rendered.
const (
	plainWidth = 1000
	plainLines = 10_000
)

// plainText renders what a program wrote to a terminal as the text that is to be seen in the end: what was
// overwritten, erased or only coloured is gone.
func plainText(s string) string {
	var p plain
	for len(s) > 0 {
		if rest, ok := p.escape(s); ok {
			s = rest
			continue
		}
		r, n := utf8.DecodeRuneInString(s)
		p.put(r)
		s = s[n:]
	}
	return p.String()
}

// plain is a screen of any height.
type plain struct {
	lines    [][]rune
	row, col int
}

func (p *plain) put(r rune) {
	switch {
	case r == '\n':
		p.row = min(p.row+1, plainLines)
	case r == '\r':
		p.col = 0
	case r == '\b':
		p.col = max(p.col-1, 0)
	case r == '\t':
		p.col = min(p.col/8*8+8, plainWidth)
	case r >= ' ' && r != 0x7f:
		line := p.line()
		for len(*line) <= p.col {
			*line = append(*line, ' ')
		}
		(*line)[p.col] = r
		p.col = min(p.col+1, plainWidth)
	}
}

// line gives the line that is written to.
func (p *plain) line() *[]rune {
	for len(p.lines) <= p.row {
		p.lines = append(p.lines, nil)
	}
	return &p.lines[p.row]
}

// escape obeys an escape sequence, and gives what follows it. One that is not whole is dropped.
func (p *plain) escape(s string) (rest string, ok bool) {
	if s[0] != 0x1b {
		return "", false
	}
	if len(s) < 2 {
		return "", true
	}
	switch s[1] {
	case '[':
		end := strings.IndexFunc(s[2:], func(r rune) bool { return r >= '@' && r <= '~' })
		if end < 0 {
			return "", true
		}
		p.control(s[2+end], s[2:2+end])
		return s[3+end:], true
	case ']', 'P', '_', '^': // up to BEL or ST
		for i := 2; i < len(s); i++ {
			if s[i] == '\a' {
				return s[i+1:], true
			}
			if s[i] == 0x1b && i+1 < len(s) && s[i+1] == '\\' {
				return s[i+2:], true
			}
		}
		return "", true
	case '(', ')', '*', '+', '#', '%':
		return s[min(3, len(s)):], true
	}
	return s[2:], true
}

// control obeys ESC [ arguments final.
func (p *plain) control(final byte, arguments string) {
	first, _, _ := strings.Cut(strings.TrimLeft(arguments, "?>="), ";")
	n, err := strconv.Atoi(first)
	count := max(n, 1)
	if err != nil {
		n = 0
	}
	switch final {
	case 'A':
		p.row = max(p.row-count, 0)
	case 'B':
		p.row = min(p.row+count, plainLines)
	case 'C':
		p.col = min(p.col+count, plainWidth)
	case 'D':
		p.col = max(p.col-count, 0)
	case 'G':
		p.col = min(count-1, plainWidth)
	case 'H', 'f':
		_, col, _ := strings.Cut(arguments, ";")
		c, _ := strconv.Atoi(col)
		p.row, p.col = min(count-1, plainLines), min(max(c, 1)-1, plainWidth)
	case 'J':
		if n >= 2 {
			p.lines = nil
		} else if n == 0 {
			p.erase()
			p.lines = p.lines[:min(len(p.lines), p.row+1)]
		}
	case 'K':
		switch line := p.line(); n {
		case 0:
			p.erase()
		case 1:
			for i := range min(p.col+1, len(*line)) {
				(*line)[i] = ' '
			}
		case 2:
			*line = nil
		}
	case 'P':
		if line := p.line(); p.col < len(*line) {
			*line = append((*line)[:p.col], (*line)[min(len(*line), p.col+count):]...)
		}
	}
}

// erase clears the line from here on.
func (p *plain) erase() {
	line := p.line()
	*line = (*line)[:min(len(*line), p.col)]
}

func (p *plain) String() string {
	var b strings.Builder
	for i, line := range p.lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(strings.TrimRight(string(line), " "))
	}
	// The cursor stands in a line of its own after an end of line, and after a prompt.
	if p.row >= len(p.lines) && len(p.lines) > 0 {
		b.WriteByte('\n')
	}
	return b.String()
}
