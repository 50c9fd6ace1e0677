package environment

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// bench is a workshop outside of a pull, with a mirror that serves content under any path.
type bench struct {
	*Workshop
	server  *httptest.Server
	content []byte

	mu       sync.Mutex
	requests []string // the Range of each
	fault    func(n int, w http.ResponseWriter, r *http.Request) bool
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{content: []byte(strings.Repeat("0123456789abcdef", 4096))}
	b.server = httptest.NewServer(b)
	t.Cleanup(b.server.Close)
	s := Open(t.TempDir())
	dir, err := s.tempDir(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.close() })
	f := newFetcher()
	f.pause, f.stall = time.Millisecond, 100*time.Millisecond
	t.Cleanup(f.client.CloseIdleConnections)
	b.Workshop = &Workshop{
		Name:  "test",
		store: s,
		dir:   dir,
		fetch: f,
	}
	return b
}

func (b *bench) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	n := len(b.requests)
	b.requests = append(b.requests, r.Header.Get("Range"))
	b.mu.Unlock()
	if b.fault != nil && b.fault(n, w, r) {
		return
	}
	http.ServeContent(w, r, "file.bin", time.Time{}, strings.NewReader(string(b.content)))
}

func (b *bench) blob(path string) Blob {
	sum := sha256.Sum256(b.content)
	digest := hex.EncodeToString(sum[:])
	return Blob{
		URLs:   []string{b.server.URL + "/" + path},
		SHA256: digest,
		Size:   int64(len(b.content)),
		Place:  "packages/" + digest + ".deb",
	}
}

// cut sends the beginning of an answer and breaks the connection.
func (b *bench) cut(w http.ResponseWriter, n int) {
	w.Header().Set("Content-Length", "65536")
	w.Write(b.content[:n])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func TestFetch(t *testing.T) {
	page := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte("<html>log in"))
	}
	for _, test := range []struct {
		name     string
		fault    func(b *bench, n int, w http.ResponseWriter, r *http.Request) bool
		requests string // the ranges asked for
		fails    string
	}{
		{name: "plain", requests: "[]"},
		{name: "cut in the middle and resumed", requests: "[ bytes=1000-]",
			fault: func(b *bench, n int, w http.ResponseWriter, _ *http.Request) bool {
				if n == 0 {
					b.cut(w, 1000)
				}
				return false
			}},
		{name: "cut, and no ranges", requests: "[ bytes=1000-]",
			fault: func(b *bench, n int, w http.ResponseWriter, r *http.Request) bool {
				if n == 0 {
					b.cut(w, 1000)
				}
				r.Header.Del("Range")
				return false
			}},
		{name: "cut each time", fails: "stopped",
			fault: func(b *bench, n int, w http.ResponseWriter, r *http.Request) bool {
				b.cut(w, 0)
				return true
			}},
		{name: "another range than asked for", fails: "range",
			fault: func(b *bench, n int, w http.ResponseWriter, r *http.Request) bool {
				if n == 0 {
					b.cut(w, 1000)
				}
				r.Header.Set("Range", "bytes=5-")
				return false
			}},
		{name: "unavailable, then there", requests: "[ ]",
			fault: func(_ *bench, n int, w http.ResponseWriter, _ *http.Request) bool {
				if n == 0 {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
				return n == 0
			}},
		{name: "unavailable", fails: "503",
			fault: func(_ *bench, n int, w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			}},
		{
			name:     "not there",
			requests: "[]",
			fails:    "404",
			fault: func(_ *bench, n int, w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(http.StatusNotFound)
				return true
			},
		},
		{
			name:     "a web page",
			requests: "[]",
			fails:    "web page",
			fault: func(_ *bench, n int, w http.ResponseWriter, _ *http.Request) bool {
				page(w)
				return true
			},
		},
		{
			name:     "another size",
			requests: "[]",
			fails:    "12 bytes where 65536",
			fault: func(_ *bench, n int, w http.ResponseWriter, _ *http.Request) bool {
				w.Write([]byte("another file"))
				return true
			},
		},
		{
			name:     "another content",
			requests: "[]",
			fails:    "SHA-256",
			fault: func(b *bench, n int, w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Length", "65536")
				w.Write([]byte(strings.Repeat("x", len(b.content))))
				return true
			},
		},
		{name: "a stall, then the rest", requests: "[ bytes=1000-]",
			fault: func(b *bench, n int, w http.ResponseWriter, r *http.Request) bool {
				if n > 0 {
					return false
				}
				w.Header().Set("Content-Length", "65536")
				w.Write(b.content[:1000])
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				return true
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			if test.fault != nil {
				b.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
					return test.fault(b, n, w, r)
				}
			}
			got := ""
			err := b.FetchAll(context.Background(), []Blob{b.blob("f")}, func(_ int, path string) error {
				data, err := os.ReadFile(path)
				got = string(data)
				return err
			})
			if test.fails == "" && (err != nil || got != string(b.content)) {
				t.Errorf("got %d bytes, error %v", len(got), err)
			}
			if test.fails != "" && (err == nil || !strings.Contains(err.Error(), test.fails) ||
				!strings.Contains(err.Error(), b.server.URL)) {
				t.Errorf("got the error %v, want one with %q and the address", err, test.fails)
			}
			if r := "[" + strings.Join(b.requests, " ") + "]"; test.requests != "" && r != test.requests {
				t.Errorf("asked for the ranges %s, want %s", r, test.requests)
			}
			if test.fails == "" && b.now.Bytes != b.now.TotalBytes {
				t.Errorf("the progress ended at %d of %d bytes", b.now.Bytes, b.now.TotalBytes)
			}
		})
	}
}

func TestFetchGoesOnAfterAnInterruption(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(context.Background())
	b.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n > 0 {
			return false
		}
		w.Header().Set("Content-Length", "65536")
		w.Write(b.content[:5000])
		w.(http.Flusher).Flush()
		for { // until the bytes have arrived
			b.Workshop.mu.Lock()
			got := b.now.Bytes
			b.Workshop.mu.Unlock()
			if got == 5000 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		cancel()
		<-r.Context().Done()
		return true
	}
	if err := b.FetchAll(ctx, []Blob{b.blob("f")}, nil); err == nil {
		t.Fatal("an interrupted download succeeded")
	}
	if err := b.FetchAll(context.Background(), []Blob{b.blob("f")}, nil); err != nil {
		t.Fatal(err)
	}
	if b.requests[1] != "bytes=5000-" {
		t.Errorf("went on with %q", b.requests[1])
	}
}

func TestFetchTriesTheNextAddress(t *testing.T) {
	b := newBench(t)
	b.fault = func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/by-hash" {
			http.NotFound(w, r)
			return true
		}
		return false
	}
	blob := b.blob("plain")
	blob.URLs = append([]string{b.server.URL + "/by-hash"}, blob.URLs...)
	if err := b.FetchAll(context.Background(), []Blob{blob}, nil); err != nil {
		t.Fatal(err)
	}
}

func TestFetchVerifiesWhatIsThere(t *testing.T) {
	b := newBench(t)
	blob := b.blob("f")
	final := b.store.path(blob.Place)
	if err := WriteFile(final, b.content); err != nil {
		t.Fatal(err)
	}
	if err := b.FetchAll(context.Background(), []Blob{blob}, nil); err != nil || len(b.requests) != 0 {
		t.Fatalf("asked %d times for what is there; error %v", len(b.requests), err)
	}
	if err := WriteFile(final, []byte("rotten")); err != nil {
		t.Fatal(err)
	}
	if err := b.FetchAll(context.Background(), []Blob{blob}, nil); err != nil || len(b.requests) != 1 {
		t.Fatalf("asked %d times for what has rotted; error %v", len(b.requests), err)
	}
}

func TestFetchOnceForTwo(t *testing.T) {
	b := newBench(t)
	blob := b.blob("f")
	if err := b.FetchAll(context.Background(), []Blob{blob, blob, blob, blob}, nil); err != nil {
		t.Fatal(err)
	}
	if len(b.requests) != 1 {
		t.Errorf("asked %d times", len(b.requests))
	}
}

func TestGet(t *testing.T) {
	b := newBench(t)
	if data, err := b.Get(context.Background(), b.server.URL+"/f", 1<<20); err != nil ||
		len(data) != len(b.content) {
		t.Errorf("got %d bytes, error %v", len(data), err)
	}
	if _, err := b.Get(context.Background(), b.server.URL+"/f", 100); err == nil ||
		!strings.Contains(err.Error(), "more than 100 bytes") {
		t.Errorf("a file over the limit gave the error %v", err)
	}
}
