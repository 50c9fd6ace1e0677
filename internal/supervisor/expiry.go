package supervisor

import (
	"errors"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// The TTL bounds idleness: it runs from the creation, or from the end of the last thing that was done in
// the VM. The record always says when it will be over if nothing more is done.

// expiryPace is how often the wall clock is looked at: a host that slept has let time go by.
const expiryPace = 30 * time.Second

// hold keeps the VM from expiring while something is done in it, until the function that it gives is called.
func (s *supervisor) hold() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.busy--; s.busy == 0 {
			s.renew()
		}
	}
}

// renew begins the TTL anew, and writes that down if the VM is one that others look at. The caller holds mu.
func (s *supervisor) renew() {
	before := s.vm.ExpiresAt
	s.vm.ExpiresAt = expiry(s.vm, time.Now())
	s.expiry.Reset(0)
	moved := before == nil || s.vm.ExpiresAt == nil || s.vm.ExpiresAt.Sub(*before).Abs() > time.Second
	if s.vm.Kind == record.KindRun || s.removed || s.vm.ID == "" || s.vm.TTLSeconds == 0 || !moved {
		return
	}
	if err := record.Save(s.dir, s.vm, false); err != nil {
		s.log.Warn("cannot write down when the VM expires", "error", err)
	}
}

// expiry is when a VM expires if nothing is done in it from a moment on; nil is never.
func expiry(vm record.VM, from time.Time) *time.Time {
	if vm.TTLSeconds == 0 {
		return nil
	}
	at := from.UTC().Truncate(time.Millisecond).Add(time.Duration(vm.TTLSeconds) * time.Second)
	return &at
}

// checkExpiry ends the VM past its TTL, unless something is done in it.
func (s *supervisor) checkExpiry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.vm.ExpiresAt == nil {
		return
	}
	left := time.Until(*s.vm.ExpiresAt)
	switch {
	case left > 0:
		s.expiry.Reset(min(left, expiryPace))
	case s.busy > 0:
		s.renew()
	default:
		s.end(errExpired)
	}
}

// status gives the record, as it is at this moment.
func (s *supervisor) status() record.VM {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy > 0 {
		s.renew()
	}
	return s.vm
}

// extend begins the TTL anew, with another length if one is given.
func (s *supervisor) extend(req link.Request) (any, error) {
	p, err := link.Decode[link.Extend](req)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.TTLSeconds != nil {
		s.vm.TTLSeconds = *p.TTLSeconds
	}
	s.vm.ExpiresAt = expiry(s.vm, time.Now())
	s.expiry.Reset(0)
	return s.vm, s.save()
}

// bury leaves a note about a VM that expires, for those who ask for it later. The caller holds mu.
func (s *supervisor) bury() error {
	if s.vm.Kind != record.KindTask && s.vm.Kind != record.KindVM {
		return nil
	}
	return s.root.Bury(record.Grave{
		ID:         s.vm.ID,
		Name:       s.vm.Name,
		ExpiredAt:  time.Now().UTC().Truncate(time.Second),
		TTLSeconds: s.vm.TTLSeconds,
	})
}

// remove removes all that is left of the VM; a note stays of one that has expired. The caller holds mu.
func (s *supervisor) remove(expired bool) error {
	var noted error
	if expired {
		noted = s.bury()
	}
	return errors.Join(noted, s.root.Remove(s.id))
}
