package instances

import (
	"errors"
	"fmt"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// The causes of failures that a VM's supervisor has no part in, beside those of package link.
const (
	CauseNoInstance link.Cause = "no_instance" // there is no VM or task of this id
	CauseMaxActive  link.Cause = "max_active"  // as many VMs live as may
	CauseNoProgram  link.Cause = "no_program"  // the pyro executable that supervises cannot be had
	CauseSupervisor link.Cause = "supervisor"  // the supervisor does not answer
	CauseBadRecord  link.Cause = "bad_record"  // the VM's record cannot be read
)

// Causes lists every cause of this package.
func Causes() []link.Cause {
	return []link.Cause{CauseNoInstance, CauseMaxActive, CauseNoProgram, CauseSupervisor, CauseBadRecord}
}

func notFound(id string) error {
	return &link.Error{
		Code:    link.CodeNotFound,
		Cause:   CauseNoInstance,
		Message: fmt.Sprintf("there is no VM or task %q", id),
	}
}

// limitReached words the limit on living VMs.
func limitReached(err error) error {
	var limit *record.LimitError
	if !errors.As(err, &limit) {
		return err
	}
	return &link.Error{
		Code:    link.CodeLimit,
		Cause:   CauseMaxActive,
		Message: fmt.Sprintf("cannot create another VM: %d VMs and tasks are alive, as many as max_active_vms allows", limit.Limit),
	}
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
