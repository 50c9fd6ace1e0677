package instances

import (
	"errors"
	"fmt"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
)

// The causes of failures that a VM's supervisor has no part in, beside those of package link.
const (
	CauseNoInstance link.Cause = "no_instance" // there is no VM or task of this id
	CauseMaxActive  link.Cause = "max_active"  // as many VMs live as may
	CauseNoProgram  link.Cause = "no_program"  // the pyro executable that supervises cannot be had
	CauseSupervisor link.Cause = "supervisor"  // the supervisor does not answer
	CauseExpired    link.Cause = "expired"     // the VM has expired
	CauseBadRecord  link.Cause = "bad_record"  // the VM's record cannot be read
)

// Causes lists every cause of this package.
func Causes() []link.Cause {
	return []link.Cause{CauseNoInstance, CauseMaxActive, CauseNoProgram, CauseSupervisor, CauseBadRecord,
		CauseExpired}
}

// notFound says that there is no such VM, and of one that has expired, when and why it went.
func (i *Instances) notFound(ref string) error {
	graves, err := i.root.Graves()
	if err != nil {
		i.options.Log.Warn("cannot read what has expired", "error", err)
	}
	for _, g := range graves {
		if g.ID == ref || g.Name != "" && g.Name == ref {
			return &link.Error{
				Code:  link.CodeNotFound,
				Cause: CauseExpired,
				Message: fmt.Sprintf("%s expired at %s, its idle TTL was %d s", ref, moment(g.ExpiredAt),
					g.TTLSeconds),
			}
		}
	}
	return &link.Error{
		Code:    link.CodeNotFound,
		Cause:   CauseNoInstance,
		Message: fmt.Sprintf("there is no VM or task %q", ref),
	}
}

// moment words a time of the last day: the day is said if it is another one.
func moment(t time.Time) string {
	t, now := t.Local(), time.Now()
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04")
	}
	return t.Format("2006-01-02 15:04")
}

// about says of an error that crossed the link what could not be done.
func about(what string, err error) error {
	var far *link.Error
	if !errors.As(err, &far) {
		return fmt.Errorf("%s: %w", what, err)
	}
	out := *far
	out.Message = what + ": " + far.Message
	return &out
}
