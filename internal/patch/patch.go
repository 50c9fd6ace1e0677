// Package patch reads unified diffs and applies them to texts in memory, exactly or not at all.
package patch

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// File is what a diff does to one file.
type File struct {
	Old, New string // names without a/ and b/; Old is empty of a new file, New of one that goes
	Mode     uint32 // of a new file, or the new one of an old file; 0 says nothing
	hunks    []hunk
}

// hunk is a part of a file, and what becomes of it.
type hunk struct {
	at    int // line of the old file, from 1; 0 if it is empty
	lines []line
}

// line is one line with its mark: ' ', '-' or '+'. It has its end, unless the file has none.
type line struct {
	mark byte
	text string
}

// maxFiles bounds a diff.
const maxFiles = 10_000

// Parse reads a diff of any number of files, as diff -u and git diff write it.
func Parse(text string) ([]File, error) {
	p := &parser{lines: strings.SplitAfter(text, "\n")}
	if n := len(p.lines); p.lines[n-1] == "" {
		p.lines = p.lines[:n-1]
	}
	var files []File
	for p.at < len(p.lines) {
		f, ok, err := p.file()
		if err != nil {
			return nil, fmt.Errorf("line %d of the patch: %w", p.at+1, err)
		}
		if ok {
			files = append(files, f)
		}
		if len(files) > maxFiles {
			return nil, fmt.Errorf("the patch has more than %d files", maxFiles)
		}
	}
	if len(files) == 0 {
		return nil, errors.New("it is no unified diff: it has no line that begins with ---")
	}
	return files, nil
}

type parser struct {
	lines []string
	at    int
}

func (p *parser) peek() string {
	if p.at < len(p.lines) {
		return strings.TrimRight(p.lines[p.at], "\r\n")
	}
	return ""
}

// file reads what is said of the next file; false is that there is none any more.
func (p *parser) file() (f File, found bool, err error) {
	git := false
	for ; p.at < len(p.lines); p.at++ {
		text := p.peek()
		switch {
		case strings.HasPrefix(text, "diff --git "):
			if git && (f.Mode != 0 || f.New == "" && f.Old != "") {
				return f, true, nil // The file before has no hunks.
			}
			f, git = File{}, true
			f.Old, f.New = gitNames(strings.TrimPrefix(text, "diff --git "))
		case strings.HasPrefix(text, "new file mode "):
			f.Mode, f.Old = mode(text), ""
		case strings.HasPrefix(text, "new mode "):
			f.Mode = mode(text)
		case strings.HasPrefix(text, "deleted file mode "):
			f.New = ""
		case strings.HasPrefix(text, "rename from "), strings.HasPrefix(text, "copy from "):
			return f, false, errors.New("renames and copies are not taken: a removal and a new file are")
		case strings.HasPrefix(text, "GIT binary patch"), strings.HasPrefix(text, "Binary files "):
			return f, false, errors.New("binary changes are not taken")
		case strings.HasPrefix(text, "--- "):
			return p.hunks(f)
		}
	}
	return f, git && (f.Mode != 0 || f.New == ""), nil
}

func mode(text string) uint32 {
	n, _ := strconv.ParseUint(text[strings.LastIndexByte(text, ' ')+1:], 8, 32)
	return uint32(n) & 0o7777
}

// gitNames are those of a line without quotes whose two names are the same but for a/ and b/.
func gitNames(text string) (string, string) {
	if half := len(text) / 2; len(text)%2 == 1 && text[half] == ' ' {
		return strings.TrimPrefix(text[:half], "a/"), strings.TrimPrefix(text[half+1:], "b/")
	}
	return "", ""
}

// name is that of a line with --- or +++.
func name(text, prefix string) (string, error) {
	text, _, _ = strings.Cut(text[4:], "\t")
	if strings.HasPrefix(text, `"`) {
		plain, err := strconv.Unquote(text)
		if err != nil {
			return "", fmt.Errorf("the name %s cannot be read", text)
		}
		text = plain
	}
	if text == "/dev/null" {
		return "", nil
	}
	return strings.TrimPrefix(text, prefix), nil
}

func (p *parser) hunks(f File) (File, bool, error) {
	var err error
	if f.Old, err = name(p.peek(), "a/"); err != nil {
		return f, false, err
	}
	p.at++
	if !strings.HasPrefix(p.peek(), "+++ ") {
		return f, false, errors.New("a line with +++ is missing")
	}
	if f.New, err = name(p.peek(), "b/"); err != nil {
		return f, false, err
	}
	p.at++
	if f.Old == "" && f.New == "" {
		return f, false, errors.New("a file has no name on either side")
	}
	for strings.HasPrefix(p.peek(), "@@ ") {
		h, err := p.hunk()
		if err != nil {
			return f, false, err
		}
		f.hunks = append(f.hunks, h)
	}
	return f, true, nil
}

// hunk reads one with its head, whose counts must be right.
func (p *parser) hunk() (hunk, error) {
	var h hunk
	before, after, at, err := head(p.peek())
	if err != nil {
		return h, err
	}
	h.at = at
	for p.at++; before > 0 || after > 0; p.at++ {
		if p.at == len(p.lines) {
			return h, errors.New("the patch ends within a hunk")
		}
		text := p.lines[p.at]
		mark := text[0]
		switch {
		case mark == '\n' || mark == '\r': // An empty line whose space some tool took away.
			mark, text = ' ', " "+text
			before, after = before-1, after-1
		case mark == ' ':
			before, after = before-1, after-1
		case mark == '-':
			before--
		case mark == '+':
			after--
		case mark == '\\':
			h.cutEnd()
			continue
		default:
			return h, errors.New("a line of a hunk begins with none of ' ', '-', '+'")
		}
		h.lines = append(h.lines, line{mark, text[1:]})
	}
	if before < 0 || after < 0 {
		return h, errors.New("a hunk has more lines than its head says")
	}
	if strings.HasPrefix(p.peek(), `\`) {
		h.cutEnd()
		p.at++
	}
	return h, nil
}

// cutEnd takes the end from the last line: the file has none there.
func (h *hunk) cutEnd() {
	if n := len(h.lines); n > 0 {
		h.lines[n-1].text = strings.TrimSuffix(h.lines[n-1].text, "\n")
	}
}

// head reads "@@ -a,b +c,d @@".
func head(text string) (before, after, at int, err error) {
	fields := strings.Fields(text)
	if len(fields) < 4 || fields[3] != "@@" || fields[1][0] != '-' || fields[2][0] != '+' {
		return 0, 0, 0, errors.New("the head of a hunk cannot be read")
	}
	count := func(text string) (at, n int, err error) {
		first, second, has := strings.Cut(text[1:], ",")
		if at, err = strconv.Atoi(first); err == nil && has {
			n, err = strconv.Atoi(second)
		} else {
			n = 1
		}
		if err == nil && (at < 0 || n < 0 || n > 1<<24) {
			err = strconv.ErrRange
		}
		return at, n, err
	}
	at, before, err = count(fields[1])
	if err == nil {
		_, after, err = count(fields[2])
	}
	if err != nil {
		err = errors.New("the numbers of a hunk cannot be read")
	}
	return before, after, at, err
}

// Apply gives what becomes of a file's content. The lines of each hunk must be there as they are; where
// they have moved, the nearest place counts.
func (f File) Apply(content string) (string, error) {
	old := strings.SplitAfter(content, "\n")
	if old[len(old)-1] == "" {
		old = old[:len(old)-1]
	}
	var out strings.Builder
	done, moved := 0, 0
	for i, h := range f.hunks {
		want := max(h.at-1, 0) + moved
		at, ok := h.find(old, want, done)
		if !ok {
			return "", fmt.Errorf("hunk %d, at line %d, does not fit", i+1, h.at)
		}
		moved += at - want
		for _, l := range old[done:at] {
			out.WriteString(l)
		}
		done = at
		for _, l := range h.lines {
			switch l.mark {
			case ' ':
				out.WriteString(old[done]) // with the end that the file has
				done++
			case '-':
				done++
			default:
				out.WriteString(l.text)
			}
		}
	}
	for _, l := range old[done:] {
		out.WriteString(l)
	}
	return out.String(), nil
}

// find tells where the lines are that a hunk wants, from least on, nearest to want.
func (h hunk) find(old []string, want, least int) (int, bool) {
	var lines []string
	for _, l := range h.lines {
		if l.mark != '+' {
			lines = append(lines, l.text)
		}
	}
	for away := 0; away <= len(old); away++ {
		for _, at := range []int{want - away, want + away} {
			if at >= least && fits(old, at, lines) {
				return at, true
			}
		}
	}
	return 0, false
}

func fits(old []string, at int, lines []string) bool {
	if at+len(lines) > len(old) {
		return false
	}
	for i, l := range lines {
		if old[at+i] != l {
			return false
		}
	}
	return true
}
