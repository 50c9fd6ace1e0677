package screen

import (
	"slices"
	"strconv"
	"strings"
)

// longestString bounds a sequence that carries a text, such as a window's title. What is longer is taken for
// one that was never ended.
const longestString = 4096

// sequence tells how long the escape sequence is that a text begins with, and whether it is whole.
func sequence(s string) (length int, ok bool) {
	if len(s) < 2 {
		return len(s), false
	}
	switch s[1] {
	case '[':
		for i := 2; i < len(s); i++ {
			if s[i] >= '@' && s[i] <= '~' {
				return i + 1, true
			}
			if s[i] < ' ' || s[i] > '~' {
				return i, true // It was broken off.
			}
		}
		return len(s), false
	case ']', 'P', '_', '^', 'X':
		for i := 2; i < min(len(s), longestString); i++ {
			switch {
			case s[i] == '\a':
				return i + 1, true
			case s[i] == 0x18, s[i] == 0x1a, s[i] == '\n':
				return i, true
			case s[i] == 0x1b && i+1 == len(s):
				return len(s), false
			case s[i] == 0x1b && s[i+1] == '\\':
				return i + 2, true
			case s[i] == 0x1b:
				return i, true
			}
		}
		if len(s) >= longestString {
			return 2, true
		}
		return len(s), false
	case '(', ')', '*', '+', '#', '%', ' ':
		return min(3, len(s)), len(s) >= 3
	case 0x1b:
		return 1, true
	}
	return 2, true
}

// WholeSequences is how many of a text's bytes there are before an escape sequence that is still on its way.
func WholeSequences(text []byte) int {
	if i := slices.Index(text[max(0, len(text)-longestString):], 0x1b); i < 0 {
		return len(text)
	}
	tail := max(0, len(text)-longestString)
	for at := tail; at < len(text); {
		if text[at] != 0x1b {
			at++
			continue
		}
		n, ok := sequence(string(text[at:]))
		if !ok {
			return at
		}
		at += n
	}
	return len(text)
}

// escape obeys the escape sequence that a text begins with, and tells how long it is. One that is not whole
// is dropped.
func (p *screen) escape(s string) (length int, ok bool) {
	length, ok = sequence(s)
	if !ok || length < 2 {
		return length, ok
	}
	switch s[1] {
	case '[':
		if final := s[length-1]; length > 2 && final >= '@' && final <= '~' {
			p.control(final, s[2:length-1])
		}
	case '(', ')':
		p.drawing[s[1]-'('] = s[2] == '0'
	case '7':
		p.saved = [2]int{p.row, p.col}
	case '8':
		p.row, p.col = p.saved[0], p.saved[1]
	case 'D', 'E':
		p.down()
		if s[1] == 'E' {
			p.col = 0
		}
	case 'M':
		if p.row == p.first {
			p.scroll(p.first, -1)
		} else {
			p.row = max(p.row-1, 0)
		}
	case 'c':
		p.blank(0, p.rows)
		p.row, p.col, p.first, p.last = 0, 0, 0, p.rows-1
	}
	return length, true
}

// numbers reads a control sequence's arguments; what is left out is 0.
func numbers(arguments string) (n [2]int) {
	for i, text := range strings.SplitN(strings.Trim(arguments, "?>=<! \"'$"), ";", 3) {
		if i < len(n) {
			n[i], _ = strconv.Atoi(text)
			n[i] = min(max(n[i], 0), mostCells)
		}
	}
	return n
}

// control obeys ESC [ arguments final.
func (p *screen) control(final byte, arguments string) {
	n := numbers(arguments)
	count := max(n[0], 1)
	switch final {
	case 'A', 'F':
		p.row = max(p.row-count, 0)
	case 'B', 'E', 'e':
		p.row = min(p.row+count, p.rows-1)
	case 'C', 'a':
		p.col = min(p.col+count, p.cols-1)
	case 'D':
		p.col = max(min(p.col, p.cols-1)-count, 0)
	case 'G', '`':
		p.col = min(count, p.cols) - 1
	case 'd':
		p.row = min(count, p.rows) - 1
	case 'H', 'f':
		p.row, p.col = min(count, p.rows)-1, min(max(n[1], 1), p.cols)-1
	case 'r':
		p.region(count, n[1])
	case 'L', 'M':
		if p.row >= p.first {
			p.scroll(p.row, map[byte]int{'L': -count, 'M': count}[final])
		}
	case 'S':
		p.scroll(p.first, count)
	case 'T':
		p.scroll(p.first, -count)
	case 'h', 'l':
		p.mode(arguments, final == 'h')
	case 's':
		p.saved = [2]int{p.row, p.col}
	case 'u':
		p.row, p.col = p.saved[0], p.saved[1]
	case 'b':
		for ; count > 0 && p.repeat != 0 && p.padding < mostPadding; count-- {
			p.show(p.repeat)
			p.padding++
		}
	case 'J':
		p.eraseScreen(n[0])
	default:
		p.editLine(final, n[0])
	}
	if final == 'E' || final == 'F' {
		p.col = 0
	}
}

// region sets the rows that scroll; 0 is the last one.
func (p *screen) region(first, last int) {
	if last == 0 || last > p.rows {
		last = p.rows
	}
	if first < last {
		p.first, p.last, p.row, p.col = first-1, last-1, 0, 0
	}
}

// mode enters or leaves the alternate screen, which keeps nothing.
func (p *screen) mode(arguments string, on bool) {
	for _, n := range strings.Split(strings.TrimPrefix(arguments, "?"), ";") {
		switch {
		case !strings.HasPrefix(arguments, "?") || n != "1049" && n != "1047" && n != "47":
		case on && p.main == nil:
			before := *p
			*p = *newScreen(Size{Rows: uint16(p.rows), Cols: uint16(p.cols)})
			p.main, p.padding, p.combined = &before, before.padding, before.combined
		case !on && p.main != nil:
			padding, combined := p.padding, p.combined
			*p = *p.main
			p.padding, p.combined = padding, combined
		}
	}
}

// blank empties rows.
func (p *screen) blank(from, to int) {
	for i := p.top + from; i < min(p.top+to, len(p.lines)); i++ {
		p.lines[i] = screenLine{}
	}
}

func (p *screen) eraseScreen(what int) {
	switch what {
	case 0:
		p.editLine('K', 0)
		p.lines = p.lines[:min(len(p.lines), p.top+p.row+1)]
	case 1:
		p.blank(0, p.row)
		p.editLine('K', 1)
	case 2:
		p.blank(0, p.rows)
		p.lines = p.lines[:min(len(p.lines), p.top)]
	case 3:
		p.lines, p.top = p.lines[min(p.top, len(p.lines)):], 0
	}
}

// editLine erases, inserts or deletes characters of the cursor's line.
func (p *screen) editLine(how byte, n int) {
	line := p.line(p.row)
	at := min(p.col, len(line.cells))
	to := min(at+max(n, 1), len(line.cells))
	switch {
	case how == 'K' && n == 0:
		line.cells, line.wrapped = line.cells[:at], false
	case how == 'K' && n == 1:
		fill(line.cells[:min(p.col+1, len(line.cells))])
	case how == 'K' && n == 2:
		*line = screenLine{}
	case how == 'P':
		line.cells = slices.Delete(line.cells, at, to)
	case how == 'X':
		fill(line.cells[at:to])
	case how == '@' && at < len(line.cells):
		blanks := make([]rune, min(max(n, 1), p.cols))
		fill(blanks)
		line.cells = slices.Insert(line.cells, at, blanks...)
		line.cells = line.cells[:min(len(line.cells), p.cols)]
	}
}

func fill(cells []rune) {
	for i := range cells {
		cells[i] = cellBlank
	}
}
