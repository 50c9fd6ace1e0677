package record

import (
	"errors"
	"testing"
)

// A spare is had by one alone, of its own shape, within the limit that it then counts against.
func TestSpareIsClaimedOnce(t *testing.T) {
	r := NewRoot(t.TempDir())
	id, lock, err := r.CreateSpare("one", 2)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, _, err := r.CreateSpare("one", 2); !errors.Is(err, ErrSpare) {
		t.Errorf("a second one of the shape: %v", err)
	}
	_, other, err := r.CreateSpare("two", 2)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, _, err := r.CreateSpare("three", 2); !errors.Is(err, ErrSpare) {
		t.Errorf("more than may wait: %v", err)
	}
	if got, err := r.ClaimSpare("four", 1, r.WasSpare); got != "" || err != nil {
		t.Errorf("another shape got %q, %v", got, err)
	}
	if got, err := r.ClaimSpare("one", 1, r.WasSpare); got != id || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, id)
	}
	if got, err := r.ClaimSpare("one", 1, r.WasSpare); got != "" || err != nil {
		t.Errorf("claimed again: %q, %v", got, err)
	}
	var limit *LimitError
	if got, err := r.ClaimSpare("two", 1, r.WasSpare); got != "" || !errors.As(err, &limit) {
		t.Errorf("past the limit: %q, %v", got, err)
	}
	other.Close()
	if got, err := r.ClaimSpare("two", 9, r.WasSpare); got != "" || err != nil {
		t.Errorf("got %q, whose supervisor is gone: %v", got, err)
	}
}
