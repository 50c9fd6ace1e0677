package e2b

import (
	"errors"
	"net/http"
	"strings"

	"github.com/pyro-mcp/pyro"
)

// snapshotInfo is a snapshot, which is a template, too: sandboxes can be made from it.
type snapshotInfo struct {
	SnapshotID string   `json:"snapshotID"`
	Names      []string `json:"names"`
}

func viewSnapshot(s pyro.Snapshot) snapshotInfo {
	names := []string{}
	if s.Name != "" {
		names = append(names, s.Name)
	}
	return snapshotInfo{s.SnapshotID, names}
}

// pause keeps a sandbox on disk, for as long as it takes until it is resumed.
func (s *Server) pause(w http.ResponseWriter, r *http.Request) error {
	t, err := s.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	if t.State == statePaused {
		return &statusError{http.StatusConflict, "the sandbox is paused already"}
	}
	if err := s.pauseTask(r.Context(), t.TaskID); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// snapshot keeps a sandbox as it is; it goes on.
func (s *Server) snapshot(w http.ResponseWriter, r *http.Request) error {
	var want struct {
		Name string `json:"name"`
	}
	t, err := s.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	if err := read(r, &want); err != nil {
		return err
	}
	request := pyro.SnapshotTaskRequest{TaskID: t.TaskID, Name: want.Name}
	made, err := s.engine.SnapshotTask(r.Context(), request)
	if err != nil {
		return err
	}
	reply(w, http.StatusCreated, viewSnapshot(made))
	return nil
}

func (s *Server) listSnapshots(w http.ResponseWriter, r *http.Request) error {
	all, err := s.engine.ListSnapshots(r.Context())
	if err != nil {
		return err
	}
	of := r.URL.Query().Get("sandboxID")
	found := []snapshotInfo{}
	for _, snap := range all.Snapshots {
		if of == "" || snap.TaskID == of {
			found = append(found, viewSnapshot(snap))
		}
	}
	reply(w, http.StatusOK, found)
	return nil
}

// deleteTemplate removes a snapshot. Environments are the person's who runs the server.
func (s *Server) deleteTemplate(w http.ResponseWriter, r *http.Request) error {
	name, _, _ := strings.Cut(r.PathValue("id"), ":")
	if _, err := s.engine.DeleteSnapshot(r.Context(), pyro.SnapshotRequest{Snapshot: name}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// fork makes sandboxes that go on from where another is.
func (s *Server) fork(w http.ResponseWriter, r *http.Request) error {
	var want struct {
		Timeout *int `json:"timeout"`
		Count   int  `json:"count"`
	}
	t, err := s.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	if err := read(r, &want); err != nil {
		return err
	}
	seconds := defaultTimeout
	if want.Timeout != nil {
		seconds = *want.Timeout
	}
	forks, err := s.engine.ForkTask(r.Context(), pyro.ForkTaskRequest{
		TaskID:     t.TaskID,
		Count:      want.Count,
		TTLSeconds: ttl(seconds),
		Metadata:   t.Metadata,
	})
	if err != nil {
		return err
	}
	made := []map[string]any{}
	for _, f := range forks.Tasks {
		s.endAfter(f.TaskID, seconds)
		made = append(made, map[string]any{"sandbox": s.view(f)})
	}
	reply(w, http.StatusCreated, made)
	return nil
}

// fromSnapshot makes a sandbox of a snapshot. It gives no task if there is no snapshot of that name.
func (s *Server) fromSnapshot(r *http.Request, name string, seconds int, metadata map[string]string) (
	*pyro.Task, error,
) {
	name, _, _ = strings.Cut(name, ":")
	if _, err := s.engine.InspectSnapshot(r.Context(), pyro.SnapshotRequest{Snapshot: name}); err != nil {
		if errors.Is(err, pyro.ErrNotFound) || errors.Is(err, pyro.ErrInvalid) {
			return nil, nil
		}
		return nil, err
	}
	forks, err := s.engine.ForkTask(r.Context(), pyro.ForkTaskRequest{
		Snapshot:   name,
		TTLSeconds: ttl(seconds),
		Metadata:   metadata,
	})
	if err != nil {
		return nil, err
	}
	return &forks.Tasks[0], nil
}
