package debian

import (
	"fmt"
	"strings"
)

// relation is one alternative of a dependency: a name, and which versions of it will do.
type relation struct {
	name, arch string // arch is the qualifier after a colon, like any
	op         string // <<, <=, =, >=, >> or empty
	version    string
}

func (r relation) String() string {
	s := r.name
	if r.arch != "" {
		s += ":" + r.arch
	}
	if r.op != "" {
		s += " (" + r.op + " " + r.version + ")"
	}
	return s
}

// clause is what one of must hold.
type clause []relation

func (c clause) String() string {
	var parts []string
	for _, r := range c {
		parts = append(parts, r.String())
	}
	return strings.Join(parts, " | ")
}

// Limits of a field of relations.
const (
	maxClauses      = 2000
	maxAlternatives = 200
)

// parseRelations reads a field like Depends: clauses between commas, alternatives between bars.
func parseRelations(s string) ([]clause, error) {
	var clauses []clause
	for part := range strings.SplitSeq(s, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		var c clause
		for alternative := range strings.SplitSeq(part, "|") {
			r, err := parseRelation(alternative)
			if err != nil {
				return nil, err
			}
			c = append(c, r)
		}
		clauses = append(clauses, c)
		if len(c) > maxAlternatives || len(clauses) > maxClauses {
			return nil, fmt.Errorf("a field of more than %d relations is refused", maxClauses)
		}
	}
	return clauses, nil
}

func parseRelation(s string) (relation, error) {
	s = strings.TrimSpace(s)
	bad := func() (relation, error) {
		return relation{}, fmt.Errorf("%.80q is not a relation to a package", s)
	}
	name, rest, versioned := strings.Cut(s, "(")
	r := relation{name: strings.TrimSpace(name)}
	r.name, r.arch, _ = strings.Cut(r.name, ":")
	if !isPackageName(r.name) || r.arch != "" && !isPackageName(r.arch) {
		return bad()
	}
	if !versioned {
		return r, nil
	}
	inner, ok := strings.CutSuffix(rest, ")")
	if !ok {
		return bad()
	}
	inner = strings.TrimSpace(inner)
	r.version = strings.TrimSpace(strings.TrimLeft(inner, "<>="))
	r.op = inner[:len(inner)-len(strings.TrimLeft(inner, "<>="))]
	switch r.op {
	case "<<", "<=", "=", ">=", ">>":
	case "<", ">": // the old spelling of "or equal"
		r.op += "="
	default:
		return bad()
	}
	if err := checkVersion(r.version); err != nil {
		return relation{}, err
	}
	return r, nil
}

// isPackageName tells whether s can be a package's or an architecture's name. It is then safe as a part of a
// path.
func isPackageName(s string) bool {
	if s == "" || len(s) > 200 || !isDigit(s[0]) && !isLetter(s[0]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isDigit(c) && !isLetter(c) && !strings.ContainsRune("+-._", rune(c)) {
			return false
		}
	}
	return true
}

// allows tells whether a version satisfies the relation.
func (r relation) allows(version string) bool {
	if r.op == "" {
		return true
	}
	c := compareVersions(version, r.version)
	switch r.op {
	case "<<":
		return c < 0
	case "<=":
		return c <= 0
	case "=":
		return c == 0
	case ">=":
		return c >= 0
	}
	return c > 0
}
