package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ask puts one question to an endpoint that does as told.
func ask(t *testing.T, timeout time.Duration, endpoint http.HandlerFunc) (Answer, error) {
	t.Helper()
	web := httptest.NewServer(endpoint)
	defer web.Close()
	defer web.CloseClientConnections()
	c := &Client{
		BaseURL: web.URL + "/v1/",
		Model:   "m",
		HTTP:    web.Client(),
		Timeout: timeout,
	}
	return c.Ask(t.Context(), []Message{{Role: "user", Content: "do it"}},
		[]Tool{{Name: "vm_run", Description: "runs", Parameters: map[string]any{"type": "object"}}})
}

// stream answers with events, and without an end of its own.
func stream(events ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		for _, e := range events {
			fmt.Fprintf(w, "data: %s\n\n", e)
			w.(http.Flusher).Flush()
		}
	}
}

func answer(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

func TestAnswers(t *testing.T) {
	run := Call{ID: "call_a", Name: "vm_run", Arguments: `{"command":"true"}`}
	for name, c := range map[string]struct {
		endpoint http.HandlerFunc
		text     string
		calls    []Call
		streamed bool
	}{
		"text in one piece": {answer(200, `{"choices":[{"message":{"role":"assistant","content":"hi"}}]}`),
			"hi", nil, false},
		"a call in one piece": {answer(200,
			`{"choices":[{"message":{"content":null,"tool_calls":[{"id":"call_a","type":"function",
			"function":{"name":"vm_run","arguments":"{\"command\":\"true\"}"}}]},"finish_reason":"tool_calls"}]}`), "", []Call{run}, false},
		"arguments that are no string": {answer(200, `{"choices":[{"message":{"tool_calls":[
			{"id":"call_a","function":{"name":"vm_run","arguments":{"command":"true"}}}]}}]}`), "",
			[]Call{run}, false},
		"two calls without ids": {answer(200,
			`{"choices":[{"message":{"tool_calls":[{"function":{"name":"a"}},{"function":{"name":"b"}}]}}]}`),
			"", []Call{{ID: "call_1", Name: "a"}, {ID: "call_2", Name: "b"}}, false},
		"text in pieces": {stream(`{"choices":[{"delta":{"role":"assistant","content":"h"}}]}`,
			`{"choices":[{"delta":{"content":"i"}}]}`,
			`{"choices":[{"delta":{},"finish_reason":"stop"}]}`, `{"choices":[],"usage":{"total_tokens":3}}`,
			`[DONE]`), "hi", nil, true},
		"an end without DONE": {stream(`{"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}`),
			"hi", nil, true},
		"a call in pieces": {stream(
			`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"call_a","type":"function","function":{"name":"vm_run","arguments":""}}]}}]}`,
			`{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"comm"}}]}}]}`,
			`{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"and\":\"true\"}"}}]}}]}`,
			`[DONE]`), "", []Call{run}, true},
		"two calls, their pieces mixed": {stream(
			`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"x","arguments":"{"}},{"index":1,"id":"b","function":{"name":"y"}}]}}]}`,
			`{"choices":[{"delta":{"tool_calls":[{"index":1,"function":{"arguments":"{}"}},{"index":0,"function":{"arguments":"}"}}]}}]}`, `[DONE]`),
			"", []Call{{ID: "a", Name: "x", Arguments: "{}"}, {ID: "b", Name: "y", Arguments: "{}"}}, true},
		"two calls with one number": {stream(
			`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"x","arguments":"{}"}}]}}]}`,
			`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"b","function":{"name":"y","arguments":"{}"}}]}}]}`, `[DONE]`),
			"", []Call{{ID: "a", Name: "x", Arguments: "{}"}, {ID: "b", Name: "y", Arguments: "{}"}}, true},
		"pieces without a number": {stream(
			`{"choices":[{"delta":{"tool_calls":[{"id":"call_a","function":{"name":"vm_run","arguments":"{\"command\":"}}]}}]}`,
			`{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"\"true\"}"}}]}}]}`, `[DONE]`), "",
			[]Call{run}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ask(t, 0, c.endpoint)
			if err != nil || got.Content != c.text || got.Streamed != c.streamed ||
				!slices.Equal(got.ToolCalls, c.calls) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	long := strings.Repeat("x", maxText/2)
	pieces := slices.Repeat([]string{`{"choices":[{"delta":{"content":"` + long + `"}}]}`}, 3)
	for name, c := range map[string]struct {
		endpoint http.HandlerFunc
		kind     Kind
		text     string
	}{
		"Ollama without the model": {answer(404,
			`{"error":{"message":"model \"m\" not found, try pulling it first","type":"api_error","param":null,"code":null}}`),
			ModelMissing, "try pulling it first"},
		"Ollama's own form": {answer(404, `{"error":"model 'm' not found"}`), ModelMissing, "model 'm'"},
		"others' form": {answer(404,
			`{"error":{"message":"The model m does not exist","code":"model_not_found"}}`), ModelMissing,
			"model_not_found"},
		"another path": {answer(404, "404 page not found\n"), Refused, "404 page not found"},
		"no tools": {answer(400,
			`{"error":{"message":"registry.ollama.ai/library/m does not support tools"}}`), NoTools,
			"cannot call tools"},
		"an error": {answer(500, `{"error":{"message":"out of memory"}}`), Refused,
			"500 Internal Server Error: out of memory"},
		"an error without word": {answer(503, ""), Refused, "no reason given"},
		"a page":                {answer(200, "<html>"), Malformed, "not the JSON"},
		"no choices":            {answer(200, `{"choices":[]}`), Malformed, "no choices"},
		"an error in a success": {answer(200, `{"error":"loading"}`), Refused, "loading"},
		"an error in a stream": {stream(`{"choices":[{"delta":{"content":"a"}}]}`,
			`{"error":{"message":"gone"}}`), Refused, "gone"},
		"half a stream": {stream(`{"choices":[{"delta":{"content":"a"}}]}`), Malformed,
			"ended in the middle"},
		"no JSON in a stream": {stream(`{"choices":`), Malformed, "not the JSON of a chunk"},
		"a long text":         {stream(pieces...), Malformed, "256 KiB"},
		"many calls": {answer(200, `{"choices":[{"message":{"tool_calls":[`+
			strings.Repeat(`{"function":{"name":"a"}},`, maxCalls)+
			`{"function":{"name":"a"}}]}}]}`), Malformed, "more than 16"},
		"an endless stream": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for {
				if _, err := io.WriteString(w, ": "+long+"\n"); err != nil {
					return
				}
			}
		}, Malformed, "longer than 8 MiB"},
		"a connection that is cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `{"choices"`)
		}, Malformed, "in the middle"},
		"a redirection": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/v1/chat/completions", http.StatusTemporaryRedirect)
		}, Unreachable, "redirect"},
		"silence": {func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // the server sees the client go once all is read
			<-r.Context().Done()
		}, Silent, "no answer within 300ms"},
	} {
		t.Run(name, func(t *testing.T) {
			timeout := time.Minute
			if c.kind == Silent {
				timeout = 300 * time.Millisecond
			}
			_, err := ask(t, timeout, c.endpoint)
			var failed *Error
			if !errors.As(err, &failed) || failed.Kind != c.kind || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %q with %q", err, c.kind, c.text)
			}
		})
	}
}

// An endpoint that streams no tool calls is asked again without a stream.
func TestNoStream(t *testing.T) {
	asked := 0
	got, err := ask(t, 0, func(w http.ResponseWriter, r *http.Request) {
		asked++
		var in struct {
			Model    string
			Stream   bool
			Messages []Message
			Tools    []struct{ Type string }
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Model != "m" || len(in.Tools) != 1 ||
			in.Tools[0].Type != "function" {
			t.Errorf("asked %+v, %v", in, err)
		}
		if in.Stream {
			answer(500, `{"error":{"message":"Cannot use tools with stream"}}`)(w, r)
			return
		}
		answer(200, `{"choices":[{"message":{"content":"whole"}}]}`)(w, r)
	})
	if err != nil || got.Content != "whole" || asked != 2 {
		t.Errorf("got %+v, %v after %d questions", got, err, asked)
	}
}

func TestNobodyThere(t *testing.T) {
	c := &Client{BaseURL: "http://127.0.0.1:1/v1", Model: "m", HTTP: &http.Client{}}
	var failed *Error
	if _, err := c.Ask(t.Context(), nil, nil); !errors.As(err, &failed) || failed.Kind != Unreachable {
		t.Errorf("got %v", err)
	}
	c.BaseURL = "http://[::1"
	if _, err := c.Ask(t.Context(), nil, nil); !errors.As(err, &failed) || failed.Kind != Unreachable {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.BaseURL = "http://127.0.0.1:1/v1"
	if _, err := c.Ask(ctx, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's end", err)
	}
}

func FuzzStream(f *testing.F) {
	for _, seed := range []string{
		"", "data: [DONE]\n\n", "data: {}\n\ndata: [DONE]\n\n",
		": note\r\nevent: x\r\ndata:{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\r\n\r\n",
		`data: {"choices":[{"delta":{"tool_calls":[{"index":3,"id":"a","function":{"name":"x","arguments":"{"}},{"function":{"arguments":{}}}]},"finish_reason":"stop"}]}` + "\n\n",
		`{"choices":[{"message":{"content":"a","tool_calls":[{"index":-1}]}}]}`, `{"error":{"error":"x"}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		for _, read := range []func(io.Reader) (Answer, error){readStream, readWhole} {
			a, err := read(&bounded{r: strings.NewReader(data), left: maxBody})
			var failed *Error
			if err != nil && !errors.As(err, &failed) {
				t.Fatalf("an error without a kind: %v", err)
			}
			if len(a.ToolCalls) > maxCalls || len(a.Content) > maxText {
				t.Fatal("beyond the bounds")
			}
		}
		errorText([]byte(data))
	})
}
