package network

import (
	"slices"
	"strings"
)

// Within tells whether all that a rule opens is open already: by the rules of allow, or on the public
// internet if there are none. An error says that a rule cannot be read.
func Within(allow []string, word string) (bool, error) {
	r, err := parseRule(word)
	if err != nil {
		return false, err
	}
	own := (&ownAddresses{}).list()
	if len(allow) == 0 {
		return r.name != "" || r.special() == nil && (r.prefix.Bits() < 32 ||
			!slices.Contains(own, r.prefix.Addr())), nil
	}
	for _, word := range allow {
		by, err := parseRule(word)
		if err != nil {
			return false, err
		}
		if by.port != 0 && by.port != r.port {
			continue
		}
		if r.name != "" && by.hasNames(r) || r.name == "" && by.hasRange(r) {
			exact := r.name != "" || r.prefix.Bits() < 32 || !slices.Contains(own, r.prefix.Addr())
			if exact || by.prefix.Bits() == 32 {
				return true, nil
			}
		}
	}
	return false, nil
}

// hasNames tells whether a rule opens the names of another, over the same protocols.
func (r rule) hasNames(other rule) bool {
	switch {
	case r.name == "", r.protocol != other.protocol && (r.protocol != "tcp" || other.protocol != ""):
		return false
	case !other.below:
		return r.matchesName(other.name)
	}
	return r.below && (r.name == other.name || strings.HasSuffix(other.name, "."+r.name))
}

// hasRange tells whether a rule opens the range of another, over the same protocols.
func (r rule) hasRange(other rule) bool {
	if !r.prefix.IsValid() || r.prefix.Bits() > other.prefix.Bits() ||
		!r.prefix.Contains(other.prefix.Addr()) {
		return false
	}
	if special := other.special(); special != nil && !special.holds(r.prefix) {
		return false
	}
	return r.protocol == "" || r.protocol == other.protocol
}

// special is the special range that a rule's range lies within, nil if there is none.
func (r rule) special() *class {
	if c := classOf(r.prefix.Addr()); c != nil && c.holds(r.prefix) {
		return c
	}
	return nil
}
