package e2b

import (
	"bytes"
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/pyro-mcp/pyro"
)

// calling is a request to a sandbox.
type calling struct {
	server *Server
	task   pyro.Task
	user   string // who a command runs as, or "" for the sandbox's own
	limit  int    // seconds that the client waits, 0 without a limit
}

// sandboxCall answers a request to a sandbox.
type sandboxCall func(http.ResponseWriter, *http.Request, *calling)

// sandboxHandler has the calls of a sandbox, by method and path.
func (s *Server) sandboxHandler() map[string]sandboxCall {
	return map[string]sandboxCall{
		"GET /health":                                  health,
		"GET /files":                                   download,
		"POST /files":                                  upload,
		"POST /process.Process/List":                   unary(listProcesses),
		"POST /process.Process/Start":                  streaming(startProcess),
		"POST /process.Process/Connect":                streaming(connectProcess),
		"POST /process.Process/Update":                 unary(updateProcess),
		"POST /process.Process/SendInput":              unary(sendInput),
		"POST /process.Process/StreamInput":            streamInput,
		"POST /process.Process/SendSignal":             unary(sendSignal),
		"POST /process.Process/CloseStdin":             unary(closeStdin),
		"POST /filesystem.Filesystem/Stat":             unary(stat),
		"POST /filesystem.Filesystem/MakeDir":          unary(makeDir),
		"POST /filesystem.Filesystem/Move":             unary(move),
		"POST /filesystem.Filesystem/ListDir":          unary(listDir),
		"POST /filesystem.Filesystem/Remove":           unary(removeEntry),
		"POST /filesystem.Filesystem/WatchDir":         streaming(watchDir),
		"POST /filesystem.Filesystem/CreateWatcher":    unary(createWatcher),
		"POST /filesystem.Filesystem/GetWatcherEvents": unary(watcherEvents),
		"POST /filesystem.Filesystem/RemoveWatcher":    unary(removeWatcher),
	}
}

// health says that a sandbox is there.
func health(w http.ResponseWriter, _ *http.Request, _ *calling) { w.WriteHeader(http.StatusNoContent) }

// serveSandbox answers a request to a sandbox, or to a port of it.
func (s *Server) serveSandbox(
	w http.ResponseWriter, r *http.Request, id, port string, calls map[string]sandboxCall,
) {
	task, err := s.find(r.Context(), id)
	paused := err == nil && task.State == statePaused
	if errors.Is(err, pyro.ErrNotFound) || paused && r.URL.Path == "/health" {
		reply(w, http.StatusBadGateway, map[string]any{
			"sandboxId": id,
			"code":      http.StatusBadGateway,
			"message":   "The sandbox was not found, or is paused",
		})
		return
	}
	if err != nil {
		fail(w, err)
		return
	}
	if port != envdPort {
		s.servePort(w, r, id, port)
		return
	}
	call, ok := calls[r.Method+" "+r.URL.Path]
	if !ok {
		reply(w, http.StatusNotFound, connectError{"unimplemented", "there is no " + r.URL.Path + " here"})
		return
	}
	if r.URL.Path != "/health" && !s.mayUse(r, id) {
		refusal := connectError{"unauthenticated", "the access token is not this sandbox's"}
		reply(w, http.StatusUnauthorized, refusal)
		return
	}
	c := &calling{server: s, task: task, limit: int((timeoutOf(r) + 999_999_999) / 1_000_000_000)}
	if name, _, ok := r.BasicAuth(); ok && name != "user" {
		c.user = name
	}
	call(w, r, c)
}

// mayUse checks a request's access token, or the signature of a link to a file.
func (s *Server) mayUse(r *http.Request, id string) bool {
	token := s.token(id)
	if hmac.Equal([]byte(r.Header.Get("X-Access-Token")), []byte(token)) {
		return true
	}
	return r.URL.Path == "/files" && signed(r, token)
}

// run runs a program in a sandbox and gives what it writes. Its failure is an error.
func (s *Server) run(ctx context.Context, id string, argv ...string) (string, error) {
	return s.feed(ctx, id, nil, argv...)
}

// feed is run with an input.
func (s *Server) feed(ctx context.Context, id string, streams *pyro.Streams, argv ...string) (string, error) {
	limit := 60
	var stdout, stderr bytes.Buffer
	line := pyro.CommandLine{Argv: argv, TimeoutSeconds: &limit}
	line.Streams.Stdout, line.Streams.Stderr = &stdout, &stderr
	if streams != nil {
		line.Streams.Stdin = streams.Stdin
		if streams.Stdout != nil {
			line.Streams.Stdout = streams.Stdout
		}
		limit = 3600 // A file may be long.
	}
	out, err := s.engine.ExecTask(ctx, pyro.ExecTaskRequest{TaskID: id, CommandLine: line})
	if err != nil {
		return "", err
	}
	if out.ExitCode != 0 {
		return "", commandError(out.ExitCode, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// Exit statuses by which the scripts here say what is wrong.
const (
	exitMissing = 44
	exitExists  = 49
	exitWrong   = 40
)

func commandError(status int, said string) error {
	switch status {
	case exitMissing:
		return &statusError{http.StatusNotFound, said}
	case exitExists:
		return &statusError{http.StatusConflict, said}
	case exitWrong:
		return &statusError{http.StatusBadRequest, said}
	}
	if strings.Contains(said, "No space left on device") {
		return &statusError{http.StatusInsufficientStorage, said}
	}
	return fmt.Errorf("the sandbox could not do it: %s", said)
}

// absolute is a path of the sandbox's: relative ones begin at its working directory.
func absolute(name string) string {
	if name == "~" || strings.HasPrefix(name, "~/") {
		name = "." + name[1:]
	}
	if !path.IsAbs(name) {
		name = path.Join(pyro.Workspace, name)
	}
	return path.Clean(name)
}
