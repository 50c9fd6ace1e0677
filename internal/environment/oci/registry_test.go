package oci

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/environment"
)

// fakeRegistry speaks as much of the registry protocol as a pull needs, and fails as it is told to.
type fakeRegistry struct {
	*httptest.Server
	mu       sync.Mutex
	blobs    map[v1.Hash][]byte
	tags     map[string]v1.Hash
	types    map[v1.Hash]types.MediaType
	requests []string // path, and range if any
	seen     map[string]int
	// fault answers a request in place of the registry; n counts the requests for the same path.
	fault func(n int, w http.ResponseWriter, r *http.Request) bool
	auth  func(r *http.Request) bool
}

func newRegistry(t testing.TB) *fakeRegistry {
	r := &fakeRegistry{
		blobs: map[v1.Hash][]byte{},
		tags:  map[string]v1.Hash{},
		types: map[v1.Hash]types.MediaType{},
		seen:  map[string]int{},
	}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (f *fakeRegistry) host() string { return f.Listener.Addr().String() }

// push keeps an image under app:TAG and gives its name.
func (f *fakeRegistry) push(m *made, tag string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for d, data := range m.blobs {
		f.blobs[d] = data
	}
	f.tags[tag] = digestOf(m.top)
	f.types[digestOf(m.top)] = m.topType
	return f.host() + "/team/app:" + tag
}

func (f *fakeRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	n := f.seen[r.URL.Path]
	f.seen[r.URL.Path]++
	f.requests = append(f.requests, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Range")))
	f.mu.Unlock()
	if f.auth != nil && !f.auth(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
		return
	}
	if f.fault != nil && f.fault(n, w, r) {
		return
	}
	if r.URL.Path == "/v2/" {
		return
	}
	parts := regexp.MustCompile(`^/v2/team/app/(manifests|blobs)/(.+)$`).FindStringSubmatch(r.URL.Path)
	if parts == nil {
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry")
		return
	}
	f.mu.Lock()
	digest, ok := f.tags[parts[2]]
	if !ok {
		digest, _ = v1.NewHash(parts[2])
	}
	data, ok := f.blobs[digest]
	kind := f.types[digest]
	f.mu.Unlock()
	if !ok {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest\nunknown")
		return
	}
	if parts[1] == "manifests" && kind != "" {
		w.Header().Set("Content-Type", string(kind))
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(data)))
}

func refuse(w http.ResponseWriter, code int, kind, message string) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": kind,
		"message": message}}})
}

func (f *fakeRegistry) asked(pattern string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.requests {
		if regexp.MustCompile(pattern).MatchString(r) {
			n++
		}
	}
	return n
}

// simple is an image of three layers, each stored in another way, the last one large enough to break off in.
func simple(t testing.TB, word string) *made {
	random := make([]byte, 300_000)
	for i := range random {
		random[i] = byte(i * i >> 5 * (i + 7) >> 3)
	}
	return layered(t, v1.Config{Env: []string{"WORD=" + word}, Cmd: []string{"sh"}},
		[]string{gzipped, zstandard, uncompressed},
		pack(t, file("etc/os-release", "ID=test\n")), pack(t, file("word", word)),
		pack(t, file("large", string(random))))
}

func TestPull(t *testing.T) {
	r, s := newRegistry(t), newStore(t, "")
	name := r.push(simple(t, "one"), "latest")
	first := mustPull(t, s, strings.TrimSuffix(name, ":latest"))
	m := first.Manifest
	if !first.Changed || m.Name != name || m.Source != "oci" || len(m.Layers) != 3 ||
		m.Config.WorkDir != "/" ||
		!slices.Equal(m.Config.Cmd, []string{"sh"}) || m.Reference != name+"@"+r.tags["latest"].String() {
		t.Errorf("got %+v", first)
	}
	if got := mustPull(t, s, name); got.Changed || got.Previous != m.Reference {
		t.Errorf("the second pull: %+v", got)
	}
	blobs := r.asked("/blobs/")
	if got := mustPull(t, s, r.host()+"/team/app@"+r.tags["latest"].String()); !got.Changed ||
		got.Manifest.Image.SHA256 != m.Image.SHA256 {
		t.Errorf("by digest: %+v", got)
	}
	if got := r.asked("/blobs/"); got != blobs+1 {
		t.Errorf("%d blobs were asked for again, want the configuration alone", got-blobs)
	}
	r.push(simple(t, "two"), "latest")
	moved := mustPull(t, s, name)
	if !moved.Changed || moved.Previous != m.Reference || moved.Manifest.Reference == m.Reference {
		t.Errorf("after the tag has moved: %+v", moved)
	}
	if n := r.asked("/blobs/"); n != blobs+3 {
		t.Errorf("%d blobs were fetched for one layer that is new, and a configuration", n-blobs-1)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(m.Image.Path), "..", "..", "blobs", m.Layers[0].SHA256),
		[]byte("rotten"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pull(t.Context(), environment.PullRequest{Name: name, Force: true}); err != nil {
		t.Errorf("over a rotten cache: %v", err)
	}
}

// Prune keeps the layers of what is installed, and no others.
func TestPrune(t *testing.T) {
	r, s := newRegistry(t), newStore(t, "")
	name := r.push(simple(t, "one"), "1")
	old := mustPull(t, s, name).Manifest
	r.push(simple(t, "two"), "1")
	now := mustPull(t, s, name).Manifest
	pruned, err := s.Prune(t.Context(), environment.PruneRequest{})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(pruned.Removed)
	if want := []string{"blobs/" + old.Layers[1].SHA256,
		"images/" + old.Image.SHA256}; !slices.Equal(pruned.Removed, want) {
		t.Errorf("removed %q, want %q", pruned.Removed, want)
	}
	blobs := r.asked("/blobs/")
	if _, err := s.Pull(t.Context(), environment.PullRequest{Name: name, Force: true}); err != nil ||
		r.asked("/blobs/") != blobs+1 {
		t.Errorf("%v, and %d blobs were asked for", err, r.asked("/blobs/")-blobs)
	}
	if got, err := s.Get(name); err != nil || got.Image.SHA256 != now.Image.SHA256 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// A pull that is called off leaves nothing but what it has downloaded, and the next goes on from there.
func TestInterruptedPull(t *testing.T) {
	r, s := newRegistry(t), newStore(t, "")
	m := simple(t, "x")
	name := r.push(m, "1")
	large := m.manifest.Layers[2]
	ctx, cancel := context.WithCancel(t.Context())
	r.fault = func(n int, w http.ResponseWriter, q *http.Request) bool {
		if n > 0 || !strings.HasSuffix(q.URL.Path, large.Digest.String()) {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(large.Size))
		w.Write(m.blobs[large.Digest][:200_000])
		w.(http.Flusher).Flush()
		cancel()
		<-q.Context().Done()
		return true
	}
	if _, err := s.Pull(ctx, environment.PullRequest{Name: name}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Get(name); !errors.Is(err, environment.ErrNotInstalled) {
		t.Errorf("got %v", err)
	}
	mustPull(t, s, name)
}

// What a registry may answer, and what is said about it.
func TestOutcomes(t *testing.T) {
	answer := func(path string, code int, times int, header ...string) func(int, http.ResponseWriter,
		*http.Request) bool {
		return func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n >= times || !regexp.MustCompile(path).MatchString(r.URL.Path) {
				return false
			}
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			refuse(w, code, "SOME_CODE", "in the registry's\tword\x1b[31ms")
			return true
		}
	}
	const always = 100
	credentials(t, "")
	large := "/blobs/" + simple(t, "x").manifest.Layers[2].Digest.String()
	breakOff := func(times int) func(int, http.ResponseWriter, *http.Request) bool {
		return func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n >= times || !strings.HasSuffix(r.URL.Path, large) {
				return false
			}
			w.Header().Set("Content-Length", fmt.Sprint(simple(t, "x").manifest.Layers[2].Size))
			w.Write(simple(t, "x").blobs[simple(t, "x").manifest.Layers[2].Digest][:100_000])
			panic(http.ErrAbortHandler)
		}
	}
	for _, test := range []struct {
		name  string
		fault func(int, http.ResponseWriter, *http.Request) bool
		want  string // of the error; empty for success
		hint  string
	}{
		{"401 without credentials", answer("manifests", 401, always),
			"wants credentials for .*in the registry's word .31ms", "docker login 127.0.0.1"},
		{"403", answer("manifests", 403, always), "does not let anonymous users have", "docker login"},
		{"404", answer("manifests", 404, always), `the registry "127.* has no "127.*/team/app:1"`,
			"misspelt"},
		{"404 at the door", answer("/v2/$", 404, always), `has no`, ""},
		{"404 for a layer", answer(large, 404, always), "has the image but not all of its layers", ""},
		{"429, soon over", answer("manifests", 429, 1, "Retry-After", "1"), "", ""},
		{"429, for long", answer("manifests", 429, always, "Retry-After", "7200"),
			"too many requests .*asks to wait for 2h0m0s", "wait, or log in"},
		{"429 for a layer, for long", answer(large, 429, always, "Retry-After", "7200"),
			"too many requests .*asks to wait for 2h0m0s", "wait, or log in"},
		{"500 once", answer("manifests", 500, 1), "", ""},
		{"500 once at the door", answer("/v2/$", 503, 1), "", ""},
		{"500", answer("manifests", 500, always), "the registry .* fails .*500 Internal Server Error",
			"try again later"},
		{"500 for a layer", answer(large, 502, always), "the registry .* fails .*502 Bad Gateway",
			"try again later"},
		{"half a blob, once", breakOff(1), "", ""},
		{"half a blob each time, from its beginning", breakOff(always),
			"the registry sends|the registry stopped|unexpected EOF", ""},
		{"the wrong blob", func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, large) {
				return false
			}
			data := slices.Clone(simple(t, "x").blobs[simple(t, "x").manifest.Layers[2].Digest])
			data[1000]++
			w.Write(data)
			return true
		}, "its SHA-256 is .* where the manifest says", ""},
		{"another blob's size", func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, large) {
				return false
			}
			fmt.Fprint(w, "short")
			return true
		}, "the registry has a file of 5 bytes where", ""},
		{"a web page", func(_ int, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>log in to this hotel's network</html>")
			return true
		}, "its manifest cannot be read", ""},
		{"a manifest without end", func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "manifests") {
				return false
			}
			for range 5 << 10 {
				w.Write(make([]byte, 1024))
			}
			return true
		}, "sends more than 4194304 bytes", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r, s := newRegistry(t), openStore(t)
			name := r.push(simple(t, "x"), "1")
			r.fault = test.fault
			_, err := pull(t, s, name)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !regexp.MustCompile(test.want).MatchString(err.Error()) ||
				strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("got %q, want %q", err, test.want)
			}
			var hinted interface{ Hint() string }
			if test.hint != "" && (!errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), test.hint)) {
				t.Errorf("the hint lacks %q", test.hint)
			}
			if _, err := s.Get(name); !errors.Is(err, environment.ErrNotInstalled) {
				t.Errorf("something was installed: %v", err)
			}
			r.fault = nil
			mustPull(t, s, name)
		})
	}
}

// A layer that broke off is asked for from where it did, and only a matching answer counts.
func TestResume(t *testing.T) {
	r, s := newRegistry(t), newStore(t, "")
	m := simple(t, "x")
	name := r.push(m, "1")
	large := m.manifest.Layers[2]
	r.fault = func(n int, w http.ResponseWriter, q *http.Request) bool {
		if n > 0 || !strings.HasSuffix(q.URL.Path, large.Digest.String()) {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(large.Size))
		w.Write(m.blobs[large.Digest][:100_000])
		panic(http.ErrAbortHandler)
	}
	mustPull(t, s, name)
	if n := r.asked("blobs/" + large.Digest.String() + ` bytes=\d{5,}-$`); n != 1 {
		t.Errorf("%d requests for the rest: %q", n, r.requests)
	}
}

// A file of credentials that nobody writes to does not outlast the caller.
func TestCredentialsThatNeverCome(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "config.json")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", dir)
	t.Setenv("DOCKER_CONFIG", dir)
	r, s := newRegistry(t), openStore(t)
	name := r.push(simple(t, "x"), "1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := s.Pull(ctx, environment.PullRequest{Name: name})
		ended <- err
	}()
	// Somebody reads it as soon as it can be opened for writing.
	var writer *os.File
	for writer == nil {
		writer, _ = os.OpenFile(fifo, os.O_WRONLY|unix.O_NONBLOCK, 0)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	writer.Close()
}

// What credentials were shown for is nobody else's to read.
func TestPrivateImages(t *testing.T) {
	r := newRegistry(t)
	r.auth = func(q *http.Request) bool { _, _, ok := q.BasicAuth(); return ok }
	s := newStore(t, fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, r.host(),
		base64.StdEncoding.EncodeToString([]byte("ada:secret"))))
	m := mustPull(t, s, r.push(simple(t, "x"), "1")).Manifest
	root := filepath.Dir(filepath.Dir(filepath.Dir(m.Image.Path)))
	for _, class := range []string{"images", "blobs", "environments"} {
		files := 0
		dir := filepath.Join(root, class)
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			files++
			info, err := d.Info()
			if err == nil && info.Mode().Perm() != 0o600 {
				t.Errorf("%s has the mode %v", path, info.Mode())
			}
			return err
		})
		if err != nil || files == 0 {
			t.Errorf("%d files of %s, %v", files, class, err)
		}
	}
}

func TestCredentials(t *testing.T) {
	r := newRegistry(t)
	name := r.push(simple(t, "x"), "1")
	r.auth = func(q *http.Request) bool {
		user, password, _ := q.BasicAuth()
		return user == "ada" && password == "secret"
	}
	entry := func(word string) string {
		return fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, r.host(),
			base64.StdEncoding.EncodeToString([]byte(word)))
	}
	helpers := t.TempDir()
	script := "#!/bin/sh\nread host\n[ \"$1 $host\" = \"get " + r.host() +
		"\" ] || exit 1\necho '{\"Username\":\"ada\",\"Secret\":\"secret\"}'\n"
	if err := os.WriteFile(filepath.Join(helpers, "docker-credential-test"), []byte(script),
		0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", helpers+":"+os.Getenv("PATH"))
	for config, want := range map[string]string{
		"":                  "wants credentials",
		entry("ada:wrong"):  `refuses the credentials of "ada"`,
		entry("ada:secret"): "",
		`{"auths":`:         "cannot read the credentials",
		fmt.Sprintf(`{"credHelpers":{%q:"test"}}`, r.host()):    "",
		fmt.Sprintf(`{"credHelpers":{%q:"missing"}}`, r.host()): "cannot .* the credentials",
	} {
		_, err := pull(t, newStore(t, config), name)
		if want == "" && err != nil || want != "" &&
			(err == nil || !regexp.MustCompile(want).MatchString(err.Error())) {
			t.Errorf("with %q: got %v, want %q", config, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells a secret: %v", err)
		}
	}
}

// Most registries want a token, which another service gives for credentials.
func TestToken(t *testing.T) {
	r := newRegistry(t)
	name := r.push(simple(t, "x"), "1")
	valid := "first"
	r.fault = func(n int, w http.ResponseWriter, q *http.Request) bool {
		user, password, _ := q.BasicAuth()
		switch {
		case q.URL.Path == "/token" && user == "ada" && password == "secret" &&
			q.URL.Query().Get("scope") == "repository:team/app:pull":
			fmt.Fprintf(w, `{"token":%q,"expires_in":60}`, valid)
		case q.URL.Path == "/token":
			refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "incorrect username or password")
		case q.Header.Get("Authorization") != "Bearer "+valid:
			w.Header().Set("WWW-Authenticate",
				fmt.Sprintf(`Bearer realm="%s/token",service="test",scope="repository:team/app:pull"`, r.URL))
			refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
		case strings.Contains(q.URL.Path, "/blobs/") && valid == "first":
			valid = "second" // the first one ends in the middle of the pull
			w.WriteHeader(http.StatusBadGateway)
		default:
			return false
		}
		return true
	}
	auths := func(word string) string {
		return fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, r.host(),
			base64.StdEncoding.EncodeToString([]byte(word)))
	}
	mustPull(t, newStore(t, auths("ada:secret")), name)
	for config, want := range map[string]string{
		"":                 "wants credentials for .*incorrect username",
		auths("ada:wrong"): `refuses the credentials of "ada" .incorrect username`,
	} {
		if _, err := pull(t, newStore(t, config), name); err == nil ||
			!regexp.MustCompile(want).MatchString(err.Error()) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// A redirect takes no credentials along, and leads nowhere without TLS but from one service of this host to
// another.
func TestRedirect(t *testing.T) {
	r, s := newRegistry(t), newStore(t, "")
	m := simple(t, "x")
	name := r.push(m, "1")
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Authorization") != "" {
			t.Error("the credentials went along")
		}
		http.Redirect(w, q, "http://registry.example"+q.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer elsewhere.Close()
	r.fault = func(_ int, w http.ResponseWriter, q *http.Request) bool {
		if !strings.Contains(q.URL.Path, "/blobs/") {
			return false
		}
		http.Redirect(w, q, elsewhere.URL+q.URL.Path, http.StatusTemporaryRedirect)
		return true
	}
	if _, err := pull(t, s, name); err == nil ||
		!strings.Contains(err.Error(), `"registry.example" would have to be asked without it`) {
		t.Errorf("got %v", err)
	}
}
