package archive

import (
	"fmt"
	"regexp"
	"strings"
)

// Patterns say which entries of a directory stay behind, as a .gitignore file does: the last that fits
// decides, "!" takes back, a slash at the beginning or in the middle ties a pattern to the directory, one
// at the end wants a directory, "*" and "?" do not cross a slash, "**" does.
type Patterns []pattern

type pattern struct {
	match   *regexp.Regexp
	dirOnly bool
	keep    bool
}

// maxPattern bounds a pattern, in bytes.
const maxPattern = 4096

// ParsePatterns reads patterns, one a line. Empty lines and those that begin with "#" say nothing.
func ParsePatterns(lines []string) (Patterns, error) {
	var all Patterns
	for _, line := range lines {
		text := strings.TrimRight(line, " \t\r")
		if text == "" || text[0] == '#' {
			continue
		}
		if len(text) > maxPattern {
			return nil, fmt.Errorf("a pattern has %d bytes, more than %d", len(text), maxPattern)
		}
		var p pattern
		text, p.keep = strings.CutPrefix(text, "!")
		text, p.dirOnly = strings.CutSuffix(text, "/")
		tied := strings.Contains(text, "/")
		text = strings.TrimPrefix(text, "/")
		if text == "" {
			continue
		}
		expression, err := translate(text, tied)
		if err != nil {
			return nil, fmt.Errorf("the pattern %q cannot be read: %w", line, err)
		}
		p.match = expression
		all = append(all, p)
	}
	return all, nil
}

// translate makes a regular expression of a pattern.
func translate(text string, tied bool) (*regexp.Regexp, error) {
	var out strings.Builder
	out.WriteString("^")
	if !tied {
		out.WriteString("(?:.*/)?")
	}
	for i := 0; i < len(text); i++ {
		rest := text[i:]
		switch c := text[i]; {
		case strings.HasPrefix(rest, "**/"):
			out.WriteString("(?:.*/)?")
			i += 2
		case strings.HasPrefix(rest, "**"):
			out.WriteString(".*")
			i++
		case c == '*':
			out.WriteString("[^/]*")
		case c == '?':
			out.WriteString("[^/]")
		case c == '[':
			end := strings.IndexByte(rest[1:], ']')
			if end <= 0 {
				out.WriteString(`\[`)
				continue
			}
			class := strings.ReplaceAll(rest[1:end+1], `\`, `\\`)
			if class[0] == '!' {
				class = "^" + class[1:]
			}
			out.WriteString("[" + class + "]")
			i += end + 1
		case c == '\\' && i+1 < len(text):
			i++
			out.WriteString(regexp.QuoteMeta(text[i : i+1]))
		default:
			out.WriteString(regexp.QuoteMeta(text[i : i+1]))
		}
	}
	out.WriteString("$")
	return regexp.Compile("(?s)" + out.String())
}

// Match tells whether an entry stays behind. What is below a directory that does need not be asked for.
func (all Patterns) Match(path string, isDir bool) bool {
	for i := len(all) - 1; i >= 0; i-- {
		p := all[i]
		if (isDir || !p.dirOnly) && p.match.MatchString(path) {
			return !p.keep
		}
	}
	return false
}
