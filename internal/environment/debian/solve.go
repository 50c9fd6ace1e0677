package debian

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// solver looks for a set of packages that has what was asked for and all that those depend on, with at most
// one version of a name and no two in conflict. Recommendations are not followed. It takes the first
// alternative that leads to an end, the highest version first, and goes back if there is none.
type solver struct {
	*universe
	chosen  map[string]*binary
	order   []*binary           // as chosen; what is taken back is cut off
	agenda  []want              // of all that is chosen
	provide map[string][]string // chosen packages by the names that they provide
	steps   int
	failure error // the first, which says most
}

// want is a clause with the package that brought it, nil for the request itself.
type want struct {
	by     *binary
	clause clause
}

// maxSteps ends a search that goes back and forth; Debian's own sets take no step back.
const maxSteps = 200_000

// solve returns the set for the names, each package after those that it depends on as far as there are no
// circles.
func (u *universe) solve(names []string) ([]*binary, error) {
	s := &solver{universe: u, chosen: map[string]*binary{}, provide: map[string][]string{}}
	for _, name := range names {
		s.agenda = append(s.agenda, want{nil, clause{{name: name}}})
	}
	ok, err := s.search(0)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, s.failure
	}
	return s.sorted()
}

// search satisfies the agenda from its i-th entry on.
func (s *solver) search(i int) (bool, error) {
	for ; i < len(s.agenda); i++ {
		if s.satisfied(s.agenda[i].clause) {
			continue
		}
		if s.steps++; s.steps > maxSteps {
			return false, errors.New("cannot resolve the dependencies: too many possibilities")
		}
		return s.choose(i)
	}
	return true, nil
}

func (s *solver) choose(i int) (bool, error) {
	w := s.agenda[i]
	candidates, err := s.candidates(w.clause)
	if err != nil {
		return false, err
	}
	for _, b := range candidates {
		if why := s.obstacle(b); why != nil {
			s.fail(w, why)
			continue
		}
		agenda := len(s.agenda)
		s.take(b)
		ok, err := s.search(i + 1)
		if ok || err != nil {
			return ok, err
		}
		s.agenda = s.agenda[:agenda]
		s.takeBack()
	}
	if len(candidates) == 0 {
		s.fail(w, errors.New("there is no such package"))
	}
	return false, nil
}

func (s *solver) fail(w want, why error) {
	if s.failure != nil {
		return
	}
	if w.by == nil {
		s.failure = fmt.Errorf("cannot have %s: %w", w.clause, why)
		return
	}
	s.failure = fmt.Errorf("cannot have %s, which depends on %s: %w", w.by, w.clause, why)
}

func (s *solver) satisfied(c clause) bool {
	for _, r := range c {
		if b, ok := s.chosen[r.name]; ok && b.satisfies(r, s.arch) {
			return true
		}
		for _, name := range s.provide[r.name] {
			if b, ok := s.chosen[name]; ok && b.satisfies(r, s.arch) {
				return true
			}
		}
	}
	return false
}

// candidates lists the packages that would satisfy the clause: by alternative, the real name before those
// that provide it, and these by priority and name.
func (s *solver) candidates(c clause) ([]*binary, error) {
	var all []*binary
	for _, r := range c {
		real, err := s.versions(r.name)
		if err != nil {
			return nil, err
		}
		var provided []*binary
		for _, name := range s.providers[r.name] {
			versions, err := s.versions(name)
			if err != nil {
				return nil, err
			}
			provided = append(provided, versions...)
		}
		slices.SortStableFunc(provided, func(a, b *binary) int {
			return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.name, b.name))
		})
		for _, b := range append(slices.Clone(real), provided...) {
			if b.satisfies(r, s.arch) {
				all = append(all, b)
			}
		}
	}
	return all, nil
}

func rank(b *binary) int {
	i := slices.Index([]string{"required", "important", "standard", "optional"}, b.priority)
	if i < 0 {
		return 4
	}
	return i
}

// obstacle tells why b cannot be beside what is chosen.
func (s *solver) obstacle(b *binary) error {
	if other, ok := s.chosen[b.name]; ok {
		return fmt.Errorf("%s would be there beside %s", b, other)
	}
	for _, r := range b.conflicts {
		names := append([]string{r.name}, s.provide[r.name]...)
		for _, name := range names {
			if other, ok := s.chosen[name]; ok && other.satisfies(r, s.arch) {
				return fmt.Errorf("%s conflicts with %s", b, other)
			}
		}
	}
	for _, other := range s.order {
		for _, r := range other.conflicts {
			if b.satisfies(r, s.arch) {
				return fmt.Errorf("%s conflicts with %s", other, b)
			}
		}
	}
	return nil
}

func (s *solver) take(b *binary) {
	s.chosen[b.name] = b
	s.order = append(s.order, b)
	for _, p := range b.provides {
		s.provide[p.name] = append(s.provide[p.name], b.name)
	}
	for _, c := range b.depends {
		s.agenda = append(s.agenda, want{b, c})
	}
}

func (s *solver) takeBack() {
	b := s.order[len(s.order)-1]
	s.order = s.order[:len(s.order)-1]
	delete(s.chosen, b.name)
	for _, p := range b.provides {
		s.provide[p.name] = s.provide[p.name][:len(s.provide[p.name])-1]
	}
}

// sorted puts packages behind those that they depend on.
func (s *solver) sorted() ([]*binary, error) {
	byName := slices.SortedFunc(slices.Values(s.order), func(a, b *binary) int {
		return cmp.Compare(a.name, b.name)
	})
	var sorted []*binary
	seen := map[string]bool{}
	var visit func(b *binary)
	visit = func(b *binary) {
		if seen[b.name] {
			return
		}
		seen[b.name] = true
		for _, c := range b.depends {
			for _, r := range c {
				for _, name := range append([]string{r.name}, s.provide[r.name]...) {
					if other, ok := s.chosen[name]; ok && other.satisfies(r, s.arch) {
						visit(other)
					}
				}
			}
		}
		sorted = append(sorted, b)
	}
	for _, essential := range []bool{true, false} {
		for _, b := range byName {
			if b.essential == essential {
				visit(b)
			}
		}
	}
	return sorted, nil
}
