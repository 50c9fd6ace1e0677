package e2b

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro"
)

// What the SDKs are told of the sandbox's side: the version whose interface is served.
const envdVersion = "0.5.7"

// Keys of a task's metadata by which a sandbox is known, beside its maker's own.
const (
	keyTemplate = "e2b.template"
	keyEnv      = "e2b.env."
	keyPause    = "e2b.autopause" // the sandbox is paused, not removed, when its time is over
)

// The states of a sandbox.
const (
	stateRunning = "running"
	statePaused  = "paused"
)

const (
	defaultTimeout = 300
	pageSize       = 100
)

// newSandbox is the request for a sandbox.
type newSandbox struct {
	TemplateID string            `json:"templateID"`
	Timeout    *int              `json:"timeout"` // seconds
	Metadata   map[string]string `json:"metadata"`
	EnvVars    map[string]string `json:"envVars"`
	Internet   *bool             `json:"allow_internet_access"`
	AutoPause  bool              `json:"autoPause"`
	Network    struct {
		AllowOut []string `json:"allowOut"`
		DenyOut  []string `json:"denyOut"`
	} `json:"network"`
}

// sandbox is what its maker is told of a sandbox.
type sandbox struct {
	TemplateID  string `json:"templateID"`
	SandboxID   string `json:"sandboxID"`
	ClientID    string `json:"clientID"`
	EnvdVersion string `json:"envdVersion"`
	AccessToken string `json:"envdAccessToken"`
	Domain      string `json:"domain"`
}

// detail is a sandbox's record.
type detail struct {
	sandbox
	StartedAt time.Time         `json:"startedAt"`
	EndAt     time.Time         `json:"endAt"`
	CPUCount  int               `json:"cpuCount"`
	MemoryMB  int               `json:"memoryMB"`
	DiskMB    int               `json:"diskSizeMB"`
	State     string            `json:"state"`
	Metadata  map[string]string `json:"metadata"`
}

func (s *Server) create(w http.ResponseWriter, r *http.Request) error {
	var want newSandbox
	if err := read(r, &want); err != nil {
		return err
	}
	request := pyro.CreateTaskRequest{Shape: pyro.Shape{
		Environment: s.environment(want.TemplateID),
		Metadata:    map[string]string{keyTemplate: want.TemplateID},
	}}
	for k, v := range want.Metadata {
		request.Metadata[k] = v
	}
	for k, v := range want.EnvVars {
		request.Metadata[keyEnv+k] = v
	}
	var err error
	if request.Network, request.Allow, err = s.egress(want); err != nil {
		return err
	}
	seconds := defaultTimeout
	if want.Timeout != nil {
		seconds = *want.Timeout
	}
	request.TTLSeconds = ttl(seconds)
	if want.AutoPause {
		request.Metadata[keyPause] = "1"
	}
	task, err := s.fromSnapshot(r, want.TemplateID, seconds, request.Metadata)
	if err == nil && task == nil {
		var made pyro.Task
		made, err = s.engine.CreateTask(r.Context(), request)
		task = &made
	}
	if err != nil {
		return err
	}
	s.endAfter(task.TaskID, seconds)
	reply(w, http.StatusCreated, s.view(*task))
	return nil
}

// environment is a template's.
func (s *Server) environment(template string) string {
	if template == "" || template == "base" {
		return s.options.Template
	}
	return template
}

// egress says what network a sandbox gets, which is never more than the server was started with.
func (s *Server) egress(want newSandbox) (network bool, allow []string, err error) {
	asked := want.Internet != nil && *want.Internet || len(want.Network.AllowOut) > 0
	refused := want.Internet != nil && !*want.Internet || slices.Contains(want.Network.DenyOut, "0.0.0.0/0")
	switch {
	case !s.options.Network && asked:
		return false, nil, &statusError{http.StatusForbidden,
			"sandboxes have no network here: the person who runs the server allows it with --allow-network"}
	case !s.options.Network:
		return false, nil, nil
	case len(want.Network.AllowOut) > 0:
		for _, host := range want.Network.AllowOut {
			if len(s.options.Allow) > 0 && !slices.Contains(s.options.Allow, host) {
				return false, nil, &statusError{http.StatusForbidden,
					host + " is not among the hosts that the person who runs the server allows"}
			}
		}
		return true, want.Network.AllowOut, nil
	case refused:
		return false, nil, nil
	}
	return true, s.options.Allow, nil
}

func (s *Server) view(t pyro.Task) sandbox {
	return sandbox{
		TemplateID:  t.Metadata[keyTemplate],
		SandboxID:   t.TaskID,
		ClientID:    "pyro",
		EnvdVersion: envdVersion,
		AccessToken: s.token(t.TaskID),
		Domain:      s.options.Domain,
	}
}

func (s *Server) detail(t pyro.Task) detail {
	d := detail{
		sandbox:   s.view(t),
		StartedAt: t.CreatedAt,
		EndAt:     s.end(t),
		CPUCount:  t.VCPUCount,
		MemoryMB:  t.MemMiB,
		DiskMB:    pyro.DefaultDiskMiB,
		State:     stateRunning,
		Metadata:  map[string]string{},
	}
	if t.State == statePaused {
		d.State = statePaused
	}
	for k, v := range t.Metadata {
		if !strings.HasPrefix(k, "e2b.") {
			d.Metadata[k] = v
		}
	}
	return d
}

// find gives a sandbox's task.
func (s *Server) find(ctx context.Context, id string) (pyro.Task, error) {
	t, err := s.engine.StatusTask(ctx, pyro.TaskRequest{TaskID: id})
	if err == nil {
		if _, owned := t.Metadata[keyTemplate]; owned {
			return t, nil
		}
		err = &statusError{http.StatusNotFound, "there is no sandbox " + strconv.Quote(id)}
	}
	return t, err
}

func (s *Server) inspect(w http.ResponseWriter, r *http.Request) error {
	t, err := s.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	reply(w, http.StatusOK, s.detail(t))
	return nil
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	wanted, err := url.ParseQuery(query.Get("metadata"))
	if err != nil {
		return &statusError{http.StatusBadRequest, "the metadata to look for cannot be read"}
	}
	all, err := s.engine.ListVMs(r.Context())
	if err != nil {
		return err
	}
	found := []detail{}
	for _, t := range all.Tasks {
		if _, owned := t.Metadata[keyTemplate]; owned && matches(t.Metadata, wanted) {
			found = append(found, s.detail(t))
		}
	}
	slices.SortFunc(found, func(a, b detail) int {
		return cmp.Or(b.StartedAt.Compare(a.StartedAt), strings.Compare(a.SandboxID, b.SandboxID))
	})
	if query.Get("order") == "asc" {
		slices.Reverse(found)
	}
	from, _ := strconv.Atoi(query.Get("nextToken"))
	limit, _ := strconv.Atoi(query.Get("limit"))
	if limit <= 0 || limit > pageSize {
		limit = pageSize
	}
	from = min(max(from, 0), len(found))
	to := min(from+limit, len(found))
	if to < len(found) {
		w.Header().Set("X-Next-Token", strconv.Itoa(to))
	}
	reply(w, http.StatusOK, found[from:to])
	return nil
}

// matches tells whether metadata has all that is looked for, whose texts are quoted once more than the query.
func matches(metadata map[string]string, wanted url.Values) bool {
	for k, values := range wanted {
		key, err := url.QueryUnescape(k)
		if err != nil {
			return false
		}
		for _, v := range values {
			if value, err := url.QueryUnescape(v); err != nil || metadata[key] != value {
				return false
			}
		}
	}
	return true
}

func (s *Server) remove(w http.ResponseWriter, r *http.Request) error {
	t, err := s.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	if _, err := s.engine.DeleteTask(r.Context(), pyro.TaskRequest{TaskID: t.TaskID}); err != nil {
		return err
	}
	s.forget(t.TaskID)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// lease is how long a sandbox is to live from now on, in seconds.
type lease struct {
	Timeout  *int `json:"timeout"`
	Duration *int `json:"duration"`
}

func (l lease) seconds() (int, bool) {
	switch {
	case l.Timeout != nil:
		return *l.Timeout, true
	case l.Duration != nil:
		return *l.Duration, true
	}
	return 0, false
}

func (s *Server) setTimeout(w http.ResponseWriter, r *http.Request) error {
	var l lease
	t, err := s.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	if err := read(r, &l); err != nil {
		return err
	}
	if seconds, ok := l.seconds(); ok {
		if err := s.extend(r.Context(), t, seconds); err != nil {
			return err
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// extend lets a sandbox live for some seconds from now on.
func (s *Server) extend(ctx context.Context, t pyro.Task, seconds int) error {
	_, err := s.engine.ExtendTask(ctx, pyro.ExtendTaskRequest{TaskID: t.TaskID, TTLSeconds: ttl(seconds)})
	if err != nil {
		return err
	}
	s.endAfter(t.TaskID, seconds)
	return nil
}

// connect gives a sandbox that is there already, and has it go on if it is paused, or its guest has ended.
func (s *Server) connect(w http.ResponseWriter, r *http.Request) error {
	var l lease
	t, err := s.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	if err := read(r, &l); err != nil {
		return err
	}
	if _, err := s.engine.ResumeTask(r.Context(), pyro.TaskRequest{TaskID: t.TaskID}); err != nil {
		return err
	}
	seconds, ok := l.seconds()
	if !ok && t.State == statePaused {
		seconds, ok = defaultTimeout, true
	}
	later := time.Now().Add(time.Duration(seconds) * time.Second).After(s.end(t))
	if ok && (later || t.State == statePaused) {
		if err := s.extend(r.Context(), t, seconds); err != nil {
			return err
		}
	}
	reply(w, http.StatusOK, s.view(t))
	return nil
}

// metrics are one sample of what a sandbox uses, as its guest sees it.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) error {
	t, err := s.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	const script = `awk '/^MemTotal|^MemAvailable|^Cached/ {print $2 * 1024}' /proc/meminfo
df -B1 --output=used,size / | tail -1
head -1 /proc/stat; sleep 0.1; head -1 /proc/stat`
	out, err := s.run(r.Context(), t.TaskID, "sh", "-c", script)
	if err != nil {
		return err
	}
	sample, err := parseMetrics(out)
	if err != nil {
		return err
	}
	sample.CPUCount = t.VCPUCount
	sample.Timestamp, sample.TimestampUnix = time.Now().UTC(), time.Now().Unix()
	reply(w, http.StatusOK, []usage{sample})
	return nil
}

// templates are the environments.
func (s *Server) templates(w http.ResponseWriter, r *http.Request) error {
	all, err := s.engine.ListEnvironments(r.Context())
	if err != nil {
		return err
	}
	found := []map[string]any{}
	for _, e := range all.Environments {
		found = append(found, map[string]any{
			"templateID": e.Name,
			"buildID":    e.Version,
			"aliases":    []string{e.Name},
			"names":      []string{e.Name},
			"public":     false,
			"cpuCount":   pyro.DefaultVCPUCount,
			"memoryMB":   pyro.DefaultMemMiB,
			"diskSizeMB": pyro.DefaultDiskMiB,
		})
	}
	reply(w, http.StatusOK, found)
	return nil
}
