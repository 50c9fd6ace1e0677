package instances

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// maxNamed bounds how many ids an error names.
const maxNamed = 5

// Find gives the id of the VM of a kind that a word means: its id, its name, or a beginning of its id that no
// other has, with or without the kind before it. This is the only place where words become ids.
func (i *Instances) Find(word string, kind record.Kind) (string, error) {
	if i.root.Exists(word) {
		if !isOf(word, kind) {
			return "", &link.Error{
				Code:    link.CodeNotFound,
				Message: fmt.Sprintf("%q is not a %s", word, kind),
			}
		}
		return word, nil
	}
	ids, err := i.root.IDs()
	if err != nil {
		return "", err
	}
	if id := i.named(ids, word); id != "" && isOf(id, kind) {
		return id, nil
	}
	beginning, ok := record.Beginning(word, kind)
	if !ok {
		return "", i.notFound(word)
	}
	var found []string
	for _, id := range ids {
		if strings.HasPrefix(id, beginning) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return "", i.notFound(word)
	case 1:
		return found[0], nil
	}
	more := ""
	if len(found) > maxNamed {
		more = fmt.Sprintf(" and %d more", len(found)-maxNamed)
		found = found[:maxNamed]
	}
	return "", &link.Error{
		Code:    link.CodeInvalid,
		Message: fmt.Sprintf("%q may mean %s%s", word, strings.Join(found, ", "), more),
	}
}

// named gives the id of the VM that has a name, "" if none has.
func (i *Instances) named(ids []string, name string) string {
	if !record.ValidName(name) {
		return ""
	}
	for _, id := range ids {
		if vm, err := record.Load(i.Dir(id)); err == nil && vm.Name == name {
			return id
		}
	}
	return ""
}

// CheckName refuses a name that no VM can have, or that one has.
func (i *Instances) CheckName(name string) error {
	if !record.ValidName(name) {
		return &link.Error{
			Code: link.CodeInvalid,
			Message: fmt.Sprintf("%q is not a name: it is 1 to 63 lower-case letters, digits, dots, dashes "+
				"and underscores, begins with a letter or a digit, and is not like an id", name),
		}
	}
	ids, err := i.root.IDs()
	if err != nil {
		return err
	}
	if id := i.named(ids, name); id != "" {
		return &link.Error{
			Code:    link.CodeState,
			Message: fmt.Sprintf("the name %q is taken by %s", name, id),
		}
	}
	return nil
}

// holdName checks a name again, and keeps others from taking it until its record is there. "" is no name.
func (i *Instances) holdName(name string) (release func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	lock, err := i.root.LockNames()
	if err != nil {
		return nil, err
	}
	if err := i.CheckName(name); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return func() { lock.Close() }, nil
}
