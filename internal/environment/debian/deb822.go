package debian

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// field is one field of a control paragraph, with its value as written: further lines keep their indentation.
type field struct{ name, value string }

// paragraph is a stanza of a control file (deb822(5)).
type paragraph []field

// get returns a field's value; names do not care about case.
func (p paragraph) get(name string) string {
	for _, f := range p {
		if strings.EqualFold(f.name, name) {
			return f.value
		}
	}
	return ""
}

// Limits of what a control file may hold.
const (
	maxParagraph = 4 << 20
	maxFields    = 500
)

// cutParagraph splits off the first paragraph of a control file. Both are empty at the end.
func cutParagraph(data []byte) (first, rest []byte) {
	data = bytes.TrimLeft(data, "\n")
	if i := bytes.Index(data, []byte("\n\n")); i >= 0 {
		return data[:i+1], data[i+2:]
	}
	return data, nil
}

// parseParagraph reads one paragraph. Comments are left out; a field that comes twice is an error.
func parseParagraph(data []byte) (paragraph, error) {
	if len(data) > maxParagraph {
		return nil, fmt.Errorf("a control paragraph of %d bytes is too long", len(data))
	}
	var p paragraph
	for line := range strings.SplitSeq(strings.TrimRight(string(data), "\n"), "\n") {
		line = strings.TrimRight(line, " \t\r")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, " "), strings.HasPrefix(line, "\t"):
			if len(p) == 0 {
				return nil, errors.New("a control paragraph begins with the continuation of a field")
			}
			p[len(p)-1].value += "\n" + line
		default:
			name, value, ok := strings.Cut(line, ":")
			if !ok || name == "" || strings.ContainsAny(name, " \t") {
				return nil, fmt.Errorf("the control line %.80q is not a field", line)
			}
			if len(p) == maxFields {
				return nil, fmt.Errorf("a control paragraph of more than %d fields is refused", maxFields)
			}
			if p.has(name) {
				return nil, fmt.Errorf("the control field %q comes twice", name)
			}
			p = append(p, field{name, strings.TrimLeft(value, " \t")})
		}
	}
	if len(p) == 0 {
		return nil, errors.New("a control paragraph has no fields")
	}
	return p, nil
}

func (p paragraph) has(name string) bool {
	for _, f := range p {
		if strings.EqualFold(f.name, name) {
			return true
		}
	}
	return false
}

// quickField finds the value of a field's first line without reading the paragraph. The name must be spelled
// as in the file.
func quickField(data []byte, name string) string {
	prefix := name + ": "
	for len(data) > 0 {
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		if len(line) > len(prefix) && string(line[:len(prefix)]) == prefix {
			return string(bytes.TrimSpace(line[len(prefix):]))
		}
		data = rest
	}
	return ""
}
