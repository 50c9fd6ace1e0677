package rpc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/pyro-mcp/pyro"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func engine(t testing.TB) *pyro.Pyro {
	p, err := pyro.New(pyro.WithStateDir(t.TempDir()), pyro.WithCacheDir(t.TempDir()),
		pyro.WithCommand("/nonexistent/pyro"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// talk sends lines and gives the answers by id, "null" for those without.
func talk(t *testing.T, lines ...string) map[string]string {
	t.Helper()
	var out bytes.Buffer
	if err := Serve(t.Context(), engine(t), "1.2.3", strings.NewReader(strings.Join(lines, "\n")+"\n"),
		&out); err != nil {
		t.Fatal(err)
	}
	answers := map[string]string{}
	for line := range strings.Lines(out.String()) {
		var m message
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		answers[string(m.ID)] += line
	}
	return answers
}

func TestAnswers(t *testing.T) {
	for line, want := range map[string]string{
		`{"id":1,"method":"hello","params":{"protocol":1,"client":"x"}}`: `"version":"1.2.3"`,
		`{"id":"a","method":"hello","params":{"protocol":99}}`:           `install a later one`,
		`{"id":1,"method":"no_such"}`:                                    `-32601`,
		`{"id":1,"method":"status_vm","params":{"vm":"x"}}`:              `-32602`,
		`{"id":1,"method":"status_vm","params":{"vm_id":3}}`:             `-32602`,
		`{"id":1,"method":"status_vm","params":[]}`:                      `-32602`,
		`{"id":1,"method":"exec_task","params":{"task_id":"none-such","command":"true","timeout_seconds":5,"stream":true,"stdin":"aGk="}}`: `"kind":"not_found"`,
		`{"id":{"x":1},"method":"hello"}`: `-32600`,
		`{"id":1}`:                        `-32600`,
		`[]`:                              `-32600`,
		`{"id":`:                          `-32700`,
		strings.Repeat("x", lineLimit+1):  `longer than`,
	} {
		answers := talk(t, line, `{"id":"end","method":"hello"}`)
		if answers[`"end"`] == "" {
			t.Errorf("%.80s: the conversation did not go on", line)
		}
		delete(answers, `"end"`)
		var all string
		for _, a := range answers {
			all += a
		}
		if !strings.Contains(all, want) {
			t.Errorf("%.80s: got %q, want %s", line, all, want)
		}
	}
	if got := talk(t, `{"method":"cancel","params":{"id":9}}`, `{"method":"grease","params":{}}`,
		``); len(got) != 0 {
		t.Errorf("notifications were answered: %q", got)
	}
}

// A failure crosses the bridge with its kind and hint.
func TestFailureHasKind(t *testing.T) {
	got := describe(t.Context(), &pyro.Error{Kind: pyro.ErrLimitReached, Message: "m", Hint: "h"})
	if got.Code != codeFailure || got.Data.Kind != "limit_reached" || got.Data.Hint != "h" {
		t.Errorf("got %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := describe(ctx, context.Canceled); got.Code != codeCancelled {
		t.Errorf("got %+v", got)
	}
}

// A request under way is cancelled by its id, and ends with the input.
func TestCancel(t *testing.T) {
	in, feed := io.Pipe()
	out, answers := io.Pipe()
	lines := bufio.NewScanner(out)
	s := newServer(engine(t), "1.2.3", answers)
	hang := func(ctx context.Context, _ call, _ json.RawMessage) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ctx, stop := context.WithCancel(t.Context())
	for _, id := range []string{"1", "2"} {
		if err := s.start(ctx, message{ID: json.RawMessage(id)}, hang); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() { done <- s.read(ctx, in) }()
	io.WriteString(feed, `{"method":"cancel","params":{"id":2}}`+"\n")
	if !lines.Scan() || !strings.Contains(lines.Text(), `"id":2,`) ||
		!strings.Contains(lines.Text(), `"cancelled"`) {
		t.Errorf("got %q", lines.Text())
	}
	go io.WriteString(feed, `{"id":1,"method":"hello"}`+"\n")
	if !lines.Scan() || !strings.Contains(lines.Text(), "under way") {
		t.Errorf("got %q", lines.Text())
	}
	feed.Close()
	<-done
	stop()
	if !lines.Scan() || !strings.Contains(lines.Text(), `"id":1,`) {
		t.Errorf("got %q", lines.Text())
	}
	s.calls.Wait()
}

func FuzzTake(f *testing.F) {
	for _, seed := range []string{`{"id":1,"method":"hello"}`, `[]`, `{"id":null}`, "{",
		`{"id":1,"method":"status_vm","params":{"vm_id":"x"}}`} {
		f.Add([]byte(seed))
	}
	p := engine(f)
	f.Fuzz(func(t *testing.T, line []byte) {
		var out bytes.Buffer
		if err := Serve(t.Context(), p, "1", bytes.NewReader(line), &out); err != nil {
			t.Fatal(err)
		}
		for answer := range strings.Lines(out.String()) {
			if !json.Valid([]byte(answer)) {
				t.Fatalf("answered %q", answer)
			}
		}
	})
}
