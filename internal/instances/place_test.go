package instances

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

func limited(t *testing.T, dir string, limit int) *Instances {
	t.Helper()
	return Open(Options{StateDir: dir, MaxActive: limit, Log: slog.New(slog.DiscardHandler)})
}

// Those who wait get places in the order in which they came, and one who comes later does not overtake them,
// from whatever process.
func TestPlacesAreWaitedForInTurn(t *testing.T) {
	dir := t.TempDir()
	first, second := limited(t, dir, 1), limited(t, dir, 1)
	held, err := first.Take(t.Context(), record.KindRun, Wait{})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var order []int
	var all sync.WaitGroup
	waits := make(chan struct{})
	take := func(n int, i *Instances) {
		all.Go(func() {
			var once sync.Once
			place, err := i.Take(context.Background(), record.KindRun, Wait{
				For:  time.Minute,
				Tell: func(int) { once.Do(func() { waits <- struct{}{} }) },
			})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			order = append(order, n)
			mu.Unlock()
			if err := i.Leave(place); err != nil {
				t.Error(err)
			}
		})
		<-waits
	}
	take(1, first)
	for !second.root.Queued() {
		runtime.Gosched()
	}
	take(2, second)
	if err := first.Leave(held); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	if len(order) != 2 || order[0] != 1 {
		t.Errorf("places were given in the order %v", order)
	}
	if second.root.Queued() {
		t.Error("somebody is still in the queue")
	}
}

// A wait ends with its time, with an error that says so, and with its context.
func TestWaitingForAPlaceEnds(t *testing.T) {
	i := limited(t, t.TempDir(), 1)
	if _, err := i.Take(t.Context(), record.KindRun, Wait{}); err != nil {
		t.Fatal(err)
	}
	for _, wait := range []time.Duration{0, 20 * time.Millisecond} {
		_, err := i.Take(t.Context(), record.KindRun, Wait{For: wait})
		var far *link.Error
		if !errors.As(err, &far) || far.Cause != CauseMaxActive ||
			!strings.Contains(far.Message, "1 VMs and tasks") {
			t.Errorf("a wait of %v ends with: %v", wait, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := i.Take(ctx, record.KindRun, Wait{For: time.Minute, Tell: func(int) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a wait that is given up ends with: %v", err)
	}
	if _, err := i.Take(t.Context(), record.KindBuild, Wait{}); err != nil {
		t.Errorf("what does not count is refused: %v", err)
	}
}
