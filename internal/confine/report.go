package confine

import "strings"

// Line is one thing that may be confined.
type Line struct {
	Name     string `json:"name"`
	Confined bool   `json:"confined"`
	Detail   string `json:"detail"` // by what, or why not; one line
}

// Report lists them, what people ask about first.
type Report []Line

// String is the report in one line for people: what is confined, then what is not.
func (r Report) String() string {
	var in, out []string
	for _, line := range r {
		if line.Confined {
			in = append(in, line.Name)
			continue
		}
		out = append(out, line.Name+" ("+line.Detail+")")
	}
	said := "confined: " + strings.Join(in, ", ")
	if len(in) == 0 {
		said = "nothing is confined"
	}
	if len(out) > 0 {
		said += "; not confined: " + strings.Join(out, ", ")
	}
	return said
}

// Choose makes a line: confined by the first means, or by the second, or not, because of an error.
func Choose(name string, first bool, by string, second bool, otherwise string, why error) Line {
	switch {
	case first:
		return Line{Name: name, Confined: true, Detail: by}
	case second:
		return Line{Name: name, Confined: true, Detail: otherwise}
	case why == nil:
		return Line{Name: name, Detail: "the host has no means for it"}
	}
	return Line{Name: name, Detail: OneLine(why.Error())}
}

// OneLine makes an error fit for a report.
func OneLine(s string) string {
	return strings.Join(strings.Fields(s), " ")
}
