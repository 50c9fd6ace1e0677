// Package screen renders what a program wrote to a terminal as the text that is seen in the end. What it is
// given is a guest's: it takes neither much time nor much memory.
package screen

import (
	"bytes"
	"slices"
	"unicode"
	"unicode/utf8"
)

// Bounds of a screen that is rendered. Its text is a guest's: no sequence takes more memory than these.
const (
	usualRows   = 24
	pipeWidth   = 1000    // of output that is no terminal's
	mostCells   = 1000    // rows or columns
	mostPadding = 1 << 18 // cells that were never written to
)

// A cell of a screen is a character, or one of these, or below them a combination by its place.
const (
	cellBlank = ' '
	cellWide  = -1 // the second half of a wide character
	cellFirst = -2 // the first combination
)

// Text renders what a program wrote to a terminal as the text that is to be seen in the end: what was
// overwritten, erased or only coloured is gone. A line that the terminal has wrapped is one again. No size is
// that of output which is no terminal's.
func Text(s string, size Size) string {
	p := newScreen(size)
	for len(s) > 0 {
		if s[0] == 0x1b {
			n, _ := p.escape(s)
			s = s[n:]
			continue
		}
		r, n := utf8.DecodeRuneInString(s)
		p.put(r)
		s = s[n:]
	}
	return p.String()
}

// Size is a terminal's; the zero value is that there is none.
type Size struct{ Rows, Cols uint16 }

// screen is what a terminal shows, with all that was scrolled out of it above.
type screen struct {
	rows, cols  int
	pipe        bool // it is no terminal
	lines       []screenLine
	top         int // the first line of the screen
	row, col    int // of the cursor; a column after the last one is that the next character wraps
	saved       [2]int
	first, last int     // rows that scroll
	main        *screen // the screen behind an alternate one
	drawing     [2]bool // which of both character sets draws lines
	shifted     int     // which one is used
	repeat      rune    // the character that was written last
	combined    []string
	padding     int
}

type screenLine struct {
	cells   []rune
	wrapped bool // the next one goes on with it
}

func newScreen(size Size) *screen {
	p := &screen{rows: int(size.Rows), cols: int(size.Cols)}
	if p.rows == 0 || p.cols == 0 {
		p.rows, p.cols, p.pipe = usualRows, pipeWidth, true
	}
	p.rows, p.cols = min(p.rows, mostCells), min(p.cols, mostCells)
	p.last = p.rows - 1
	return p
}

// line gives a row's line, until the next change of the lines.
func (p *screen) line(row int) *screenLine {
	for len(p.lines) <= p.top+row {
		p.lines = append(p.lines, screenLine{})
	}
	return &p.lines[p.top+row]
}

func (p *screen) put(r rune) {
	switch {
	case r == '\n', r == '\v', r == '\f':
		p.line(p.row).wrapped = false
		p.down()
		if p.pipe {
			p.col = 0 // A terminal gets a carriage return as well, from its line settings.
		}
	case r == '\r':
		p.col = 0
	case r == '\b':
		p.col = max(min(p.col, p.cols-1)-1, 0)
	case r == '\t':
		p.col = min(p.col/8*8+8, p.cols-1)
	case r == 0x0e, r == 0x0f:
		p.shifted = int(0x0f - r)
	case r >= ' ' && r < 0x7f || r > 0x9f:
		p.show(r)
	}
}

// show writes a character at the cursor.
func (p *screen) show(r rune) {
	if p.drawing[p.shifted] && r >= 'j' && r <= 'x' {
		r = []rune("┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│")[r-'j']
	}
	width := runeWidth(r)
	if width == 0 {
		p.combine(r)
		return
	}
	if p.col+width > p.cols {
		p.line(p.row).wrapped = true
		p.down()
		p.col = 0
	}
	line := p.line(p.row)
	p.pad(line, p.col)
	at := min(p.col, len(line.cells))
	written := []rune{r, cellWide}[:width]
	line.cells = slices.Replace(line.cells, at, min(at+width, len(line.cells)), written...)
	p.col, p.repeat = at+width, r
}

// pad makes a line reach a column, as far as there is room for it.
func (p *screen) pad(line *screenLine, to int) {
	for len(line.cells) < to && p.padding < mostPadding {
		line.cells = append(line.cells, cellBlank)
		p.padding++
	}
}

// combine adds a mark to the character before the cursor.
func (p *screen) combine(r rune) {
	const most = 32 // bytes of a combination
	cells := p.line(p.row).cells
	at := min(p.col, len(cells)) - 1
	for at >= 0 && cells[at] == cellWide {
		at--
	}
	if at < 0 {
		return
	}
	text := p.text(cells[at]) + string(r)
	if len(text) > most {
		return
	}
	if cells[at] > cellFirst {
		p.combined = append(p.combined, "")
		cells[at] = rune(cellFirst - len(p.combined) + 1)
	}
	p.combined[cellFirst-cells[at]] = text
}

func (p *screen) text(cell rune) string {
	switch {
	case cell == cellWide:
		return ""
	case cell < 0:
		return p.combined[cellFirst-cell]
	}
	return string(cell)
}

// down goes to the next row, and scrolls if there is none.
func (p *screen) down() {
	switch {
	case p.row == p.last && p.first == 0 && p.last == p.rows-1 && p.main == nil:
		p.line(p.row)
		p.top++ // What goes out of the screen is kept.
	case p.row == p.last:
		p.scroll(p.first, 1)
	default:
		p.row = min(p.row+1, p.rows-1)
	}
}

// scroll moves the rows from one on up to the last that scrolls, up, or down if by is below 0.
func (p *screen) scroll(from, by int) {
	if from > p.last {
		return
	}
	p.line(p.last)
	part := p.lines[p.top+from : p.top+p.last+1]
	n := min(max(by, -by), len(part))
	if by > 0 {
		copy(part, part[n:])
		clear(part[len(part)-n:])
	} else {
		copy(part[n:], part)
		clear(part[:n])
	}
}

func (p *screen) String() string {
	lines := p.lines
	for len(lines) > p.top+p.row+1 && len(lines[len(lines)-1].cells) == 0 {
		lines = lines[:len(lines)-1] // It is there because others were moved.
	}
	var out []byte
	begin := 0 // of the line that is being written
	for i, line := range lines {
		if i > 0 && !lines[i-1].wrapped {
			out = append(trimBlanks(out, begin), '\n')
			begin = len(out)
		}
		for _, cell := range line.cells {
			out = append(out, p.text(cell)...)
		}
	}
	out = trimBlanks(out, begin)
	// The cursor stands in a line of its own after an end of line.
	if p.top+p.row >= len(lines) && len(lines) > 0 {
		out = append(out, '\n')
	}
	return string(out)
}

func trimBlanks(text []byte, from int) []byte {
	return text[:from+len(bytes.TrimRight(text[from:], " "))]
}

// runeWidth is how many columns a character takes.
func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3,
		r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60,
		r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1f64f, r >= 0x1f680 && r <= 0x1f6ff,
		r >= 0x1f900 && r <= 0x1f9ff, r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}
