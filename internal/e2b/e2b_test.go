package e2b

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/pyro-mcp/pyro"
)

func newServer(t testing.TB) *Server {
	t.Helper()
	p, err := pyro.New(pyro.WithStateDir(t.TempDir()), pyro.WithCacheDir(t.TempDir()),
		pyro.WithCommand("/nonexistent/pyro"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	s, err := New(p, Options{Key: "key", Domain: "sandboxes.test"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAKeyIsNeeded(t *testing.T) {
	if _, err := New(nil, Options{}); err == nil {
		t.Error("a server without a key was made")
	}
	handler := newServer(t).Handler()
	for _, c := range []struct {
		method, path, key string
		want              int
	}{
		{"GET", "/v2/sandboxes", "", 401},
		{"GET", "/v2/sandboxes", "keY", 401},
		{"GET", "/v2/sandboxes", "key", 200},
		{"POST", "/v2/sandboxes", "", 401},
		{"GET", "/sandboxes/task-000000000000", "key", 404},
		{"DELETE", "/sandboxes/task-000000000000", "key", 404},
		{"GET", "/nothing", "key", 501},
		{"GET", "/nothing", "", 401},
	} {
		r := httptest.NewRequest(c.method, c.path, nil)
		r.Header.Set("X-Api-Key", c.key)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s %s with %q: %d, want %d: %s", c.method, c.path, c.key, w.Code, c.want, w.Body)
		}
	}
}

func TestNetworkIsNoMoreThanAllowed(t *testing.T) {
	yes, no, both := true, false, []string{"a", "b"}
	out := func(hosts ...string) (n newSandbox) {
		n.Network.AllowOut = hosts
		return n
	}
	for _, c := range []struct {
		name    string
		options Options
		want    newSandbox
		network bool
		allow   []string
		refused bool
	}{
		{"none by default", Options{}, newSandbox{}, false, nil, false},
		{"asked for in vain", Options{}, newSandbox{Internet: &yes}, false, nil, true},
		{"a host, in vain", Options{}, out("pypi.org"), false, nil, true},
		{"granted", Options{Network: true}, newSandbox{}, true, nil, false},
		{"declined", Options{Network: true}, newSandbox{Internet: &no}, false, nil, false},
		{"a list", Options{Network: true, Allow: both}, newSandbox{}, true, both, false},
		{"less", Options{Network: true, Allow: both}, out("b"), true, []string{"b"}, false},
		{"more", Options{Network: true, Allow: []string{"a"}}, out("a", "b"), false, nil, true},
	} {
		s := newServer(t)
		s.options.Network, s.options.Allow = c.options.Network, c.options.Allow
		network, allow, err := s.egress(c.want)
		if network != c.network || !reflect.DeepEqual(allow, c.allow) || (err != nil) != c.refused {
			t.Errorf("%s: %v %q, %v", c.name, network, allow, err)
		}
	}
}

func TestAddressee(t *testing.T) {
	s := newServer(t)
	for host, want := range map[string][2]string{
		"8000-task-00.sandboxes.test": {"task-00", "8000"},
		"8000-task-00.elsewhere.test": {"", ""},
		"sandboxes.test":              {"", ""},
		"task.sandboxes.test":         {"", ""},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		if id, port := s.addressee(r); [2]string{id, port} != want {
			t.Errorf("%s leads to %s %s, want %s", host, id, port, want)
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("E2b-Sandbox-Id", "task-00")
	if id, port := s.addressee(r); id != "task-00" || port != envdPort {
		t.Errorf("the header leads to %s %s", id, port)
	}
}

func TestEntries(t *testing.T) {
	text := "f\x00f\x00\x005\x00644\x00-rw-r--r--\x00root\x00root\x001700000000.5000000000\x00" +
		"/tmp/a b\nc\x00" +
		"l\x00d\x00/usr\x004\x00777\x00lrwxrwxrwx\x00u\x00g\x001700000000.0\x00/tmp/l\x00"
	entries, err := parseEntries(text)
	if err != nil || len(entries) != 2 {
		t.Fatalf("%v, %v", entries, err)
	}
	if e := entries[0]; e.Name != "a b\nc" || e.Mode != 0o644 || e.ModifiedTime.UnixMilli() != 1700000000500 {
		t.Errorf("%+v", e)
	}
	if e := entries[1]; e.Type != "FILE_TYPE_DIRECTORY" || !e.IsSymlink || *e.SymlinkTarget != "/usr" {
		t.Errorf("%+v", e)
	}
	for _, wrong := range []string{
		"f\x00",
		strings.Replace(text, "644", "six", 1),
		strings.Replace(text, "1700", "x", 1),
	} {
		if _, err := parseEntries(wrong); err == nil {
			t.Errorf("%q was read", wrong)
		}
	}
}

func TestChanges(t *testing.T) {
	file := func(size string, mode int64) entry {
		return entry{Type: "FILE_TYPE_FILE", Size: size, Mode: mode}
	}
	got := changes(
		snapshot{"kept": file("1", 6), "grown": file("1", 6), "gone": file("1", 6), "closed": file("1", 6)},
		snapshot{"kept": file("1", 6), "grown": file("2", 6), "closed": file("1", 0), "new": file("3", 6)})
	want := []fileEvent{{"closed", "EVENT_TYPE_CHMOD"}, {"gone", "EVENT_TYPE_REMOVE"},
		{"grown", "EVENT_TYPE_WRITE"},
		{"new", "EVENT_TYPE_CREATE"}, {"new", "EVENT_TYPE_WRITE"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestMetrics(t *testing.T) {
	text := "1000\n400\n100\n 7 9\ncpu 1 0 1 8 0 0 0\ncpu 3 0 1 9 0 0 0\n"
	u, err := parseMetrics(text)
	if err != nil || u.MemUsed != 600 || u.DiskTotal != 9 || int(u.CPUUsedPct) != 66 {
		t.Errorf("%+v, %v", u, err)
	}
	for _, wrong := range []string{"", "1\n2\n3\n4\n5\n6", strings.Replace(text, "cpu 3", "cpu x", 1)} {
		if _, err := parseMetrics(wrong); err == nil {
			t.Errorf("%q was read", wrong)
		}
	}
}

// Messages come back as they were sent, and the end is known from a stream that breaks off.
func TestFrames(t *testing.T) {
	w := httptest.NewRecorder()
	s := newStream(w, httptest.NewRequest("POST", "/", nil))
	if err := s.send(map[string]string{"a": "b"}); err != nil {
		t.Fatal(err)
	}
	s.end(&statusError{http.StatusNotFound, "gone"})
	s.stop()
	body := w.Body.Bytes()
	from := bytes.NewReader(body)
	if m, err := receive[map[string]string](from); err != nil || m["a"] != "b" {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := receive[none](from); !ended(err) {
		t.Errorf("the end is %v", err)
	}
	if !bytes.Contains(body, []byte(`"code":"not_found"`)) {
		t.Errorf("the error is not told: %q", body)
	}
	if _, err := receive[none](bytes.NewReader(body[:8])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a message that breaks off gives %v", err)
	}
	if _, err := receive[none](bytes.NewReader([]byte{0, 0xff, 0xff, 0xff, 0xff})); err == nil {
		t.Error("4 GiB were asked for and taken")
	}
}

func FuzzGuestWords(f *testing.F) {
	f.Add("f\x00f\x00\x005\x00644\x00-rw-r--r--\x00root\x00root\x001700000000.5\x00/tmp/a\x00")
	f.Add("1000\n400\n100\n 7 9\ncpu 1 0 1 8 0 0 0\ncpu 3 0 1 9 0 0 0\n")
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = parseEntries(text)
		_, _ = parseMetrics(text)
	})
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x02{}"))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = receive[map[string]any](bytes.NewReader(data)) })
}

func TestPortsHaveNames(t *testing.T) {
	for host, want := range map[string][2]string{
		"8000-task-0a1b.localhost:3000": {"task-0a1b", "8000"},
		"8000-TASK-0A1B.LOCALHOST:3000": {"task-0a1b", "8000"},
		"8000-task-0a1b.localhost":      {},
		"localhost:3000":                {},
		"8000.localhost:3000":           {},
		"a.8000-task-0.localhost:3000":  {},
		"127.0.0.1:3000":                {},
	} {
		if id, port := hostOfPort(host, "localhost:3000"); id != want[0] || port != want[1] {
			t.Errorf("%q is port %q of %q, want %v", host, port, id, want)
		}
	}
	for listening, want := range map[string]string{
		"127.0.0.1:3000": "localhost:3000", "[::1]:9": "localhost:9", "192.0.2.1:80": "192.0.2.1:80",
	} {
		address, err := net.ResolveTCPAddr("tcp", listening)
		if err != nil {
			t.Fatal(err)
		}
		if got := defaultDomain(address); got != want {
			t.Errorf("%s: %s, want %s", listening, got, want)
		}
	}
}
