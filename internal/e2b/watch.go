package e2b

import (
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// watchEach is how often a directory that is watched is looked at. A guest's file system tells the host
// nothing.
const watchEach = 300 * time.Millisecond

// maxWatched bounds the events that nobody has fetched yet.
const maxWatched = 4096

// fileEvent is a change of a file. Name is relative to the directory that is watched.
type fileEvent struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// snapshot is a directory's entries as they were looked at.
type snapshot map[string]entry

func (c *calling) look(ctx context.Context, dir string, recursive bool) (snapshot, error) {
	depth := 1
	if recursive {
		depth = 64
	}
	listed, err := listDir(ctx, c, pathRequest{Path: dir, Depth: depth})
	if err != nil {
		return nil, err
	}
	now := snapshot{}
	for _, e := range listed["entries"].([]entry) {
		now[strings.TrimPrefix(strings.TrimPrefix(e.Path, absolute(dir)), "/")] = e
	}
	return now, nil
}

// changes are the events that lead from one look to the next, in the order of the names.
func changes(before, after snapshot) (events []fileEvent) {
	for name, e := range after {
		old, ok := before[name]
		switch {
		case !ok:
			events = append(events, fileEvent{name, "EVENT_TYPE_CREATE"})
			if e.Type == "FILE_TYPE_FILE" && e.Size != "0" {
				events = append(events, fileEvent{name, "EVENT_TYPE_WRITE"})
			}
		case e.Type == "FILE_TYPE_FILE" && (!old.ModifiedTime.Equal(e.ModifiedTime) || old.Size != e.Size):
			events = append(events, fileEvent{name, "EVENT_TYPE_WRITE"})
		case old.Mode != e.Mode:
			events = append(events, fileEvent{name, "EVENT_TYPE_CHMOD"})
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			events = append(events, fileEvent{name, "EVENT_TYPE_REMOVE"})
		}
	}
	slices.SortStableFunc(events, func(a, b fileEvent) int { return strings.Compare(a.Name, b.Name) })
	return events
}

// watch calls for each change until ctx ends or the call fails.
func (c *calling) watch(
	ctx context.Context, r pathRequest, before snapshot, tell func(fileEvent) error,
) error {
	tick := time.NewTicker(watchEach)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := c.look(ctx, r.Path, r.Recursive)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range changes(before, now) {
			if err := tell(e); err != nil {
				return nil // Nobody listens any more.
			}
		}
		before = now
	}
}

func watchDir(ctx context.Context, c *calling, r pathRequest, to *stream) error {
	before, err := c.look(ctx, r.Path, r.Recursive)
	if err != nil {
		return err
	}
	if err := to.send(map[string]any{"start": none{}}); err != nil {
		return nil
	}
	return c.watch(ctx, r, before, func(e fileEvent) error {
		return to.send(map[string]any{"filesystem": e})
	})
}

// watcher collects events for a client that fetches them.
type watcher struct {
	cancel context.CancelFunc

	mu     sync.Mutex
	events []fileEvent
}

type watcherRequest struct {
	ID string `json:"watcherId"`
}

func createWatcher(ctx context.Context, c *calling, r pathRequest) (watcherRequest, error) {
	before, err := c.look(ctx, r.Path, r.Recursive)
	if err != nil {
		return watcherRequest{}, err
	}
	// It outlives this request: until it is removed, its sandbox is gone, or the time is over that a sandbox
	// gets.
	watching, cancel := context.WithTimeout(context.WithoutCancel(ctx), 24*time.Hour)
	w := &watcher{cancel: cancel}
	id := rand.Text()
	c.server.mu.Lock()
	c.server.watchers[id] = w
	c.server.mu.Unlock()
	go func() {
		defer cancel()
		// It ends with its sandbox; what was seen can still be fetched.
		_ = c.watch(watching, r, before, w.add)
	}()
	return watcherRequest{id}, nil
}

func (w *watcher) add(e fileEvent) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) < maxWatched {
		w.events = append(w.events, e)
	}
	return nil
}

func (s *Server) watcher(id string, remove bool) (*watcher, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.watchers[id]
	if w == nil {
		return nil, &statusError{http.StatusNotFound, "there is no such watcher"}
	}
	if remove {
		delete(s.watchers, id)
	}
	return w, nil
}

func watcherEvents(_ context.Context, c *calling, r watcherRequest) (map[string]any, error) {
	w, err := c.server.watcher(r.ID, false)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	events := w.events
	w.events = nil
	if events == nil {
		events = []fileEvent{}
	}
	return map[string]any{"events": events}, nil
}

func removeWatcher(_ context.Context, c *calling, r watcherRequest) (none, error) {
	w, err := c.server.watcher(r.ID, true)
	if err == nil {
		w.cancel()
	}
	return none{}, err
}
