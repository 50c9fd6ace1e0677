// Package chattest is a chat endpoint that says what a test tells it to, in the protocol of the real ones.
package chattest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/pyro-mcp/pyro/internal/chat"
)

// Missing is the one model that the endpoint does not have.
const Missing = "no-such"

// Turn is one answer.
type Turn struct {
	Text  string
	Calls []chat.Call
	// Status, if it is not 0, is answered with Body in place of a turn.
	Status int
	Body   string
}

// Asked is one request, as it came.
type Asked struct {
	Model    string `json:"model"`
	Stream   bool   `json:"stream"`
	Messages []struct {
		Role       string `json:"role"`
		Content    string `json:"content"`
		ToolCallID string `json:"tool_call_id"`
		ToolCalls  []struct {
			ID       string `json:"id"`
			Type     string `json:"type"`
			Function struct{ Name, Arguments string }
		} `json:"tool_calls"`
	} `json:"messages"`
	Tools []struct {
		Type     string `json:"type"`
		Function struct {
			Name, Description string
			Parameters        map[string]any
		}
	} `json:"tools"`
}

// Last is the text of the newest message.
func (a Asked) Last() string { return a.Messages[len(a.Messages)-1].Content }

// Endpoint answers with the turns of a script.
type Endpoint struct {
	// URL is the base URL, up to and including /v1.
	URL string

	t      testing.TB
	whole  bool
	script func(n int, asked Asked) Turn
	mu     sync.Mutex
	asked  int
}

// Start starts an endpoint that ends with the test. The script gives the nth answer, from 0. It streams where
// it is asked to; one that is whole refuses to, as some do.
func Start(t testing.TB, whole bool, script func(n int, asked Asked) Turn) *Endpoint {
	e := &Endpoint{t: t, whole: whole, script: script}
	web := httptest.NewServer(http.HandlerFunc(e.serve))
	t.Cleanup(web.Close)
	e.URL = web.URL + "/v1"
	return e
}

// Asked counts the turns taken.
func (e *Endpoint) Asked() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked
}

func (e *Endpoint) serve(w http.ResponseWriter, r *http.Request) {
	var asked Asked
	if r.Method != http.MethodPost || r.URL.Path != "/v1/chat/completions" {
		http.NotFound(w, r)
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || len(asked.Messages) == 0 {
		refuse(w, http.StatusBadRequest, "invalid request")
		e.t.Errorf("a request that is none: %v", err)
		return
	}
	if err := asked.check(); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		e.t.Error(err)
		return
	}
	switch {
	case asked.Model == Missing:
		refuse(w, http.StatusNotFound, fmt.Sprintf("model %q not found, try pulling it first", asked.Model))
		return
	case asked.Stream && e.whole:
		refuse(w, http.StatusInternalServerError, "Cannot use tools with stream")
		return
	}
	e.mu.Lock()
	n := e.asked
	e.asked++
	e.mu.Unlock()
	turn := e.script(n, asked)
	switch {
	case turn.Status != 0:
		w.WriteHeader(turn.Status)
		fmt.Fprint(w, turn.Body)
	case asked.Stream:
		streamed(w, asked.Model, turn)
	default:
		reply(w, http.StatusOK, map[string]any{"object": "chat.completion", "model": asked.Model,
			"choices": []any{map[string]any{
				"index": 0, "finish_reason": reason(turn), "message": map[string]any{"role": "assistant",
					"content": turn.Text, "tool_calls": turn.Calls},
			}}})
	}
}

// check wants each tool's result to follow the call that it answers.
func (a Asked) check() error {
	open := map[string]bool{}
	for i, m := range a.Messages {
		switch {
		case m.Role == "tool" && !open[m.ToolCallID]:
			return fmt.Errorf("message %d answers call %q, which is not open", i, m.ToolCallID)
		case m.Role == "tool":
			delete(open, m.ToolCallID)
		case len(open) > 0:
			return fmt.Errorf("message %d is a %s's, and %d calls are not answered yet", i, m.Role, len(open))
		case m.Role != "system" && m.Role != "user" && m.Role != "assistant":
			return fmt.Errorf("message %d has the role %q", i, m.Role)
		}
		for _, c := range m.ToolCalls {
			if c.ID == "" || c.Type != "function" || m.Role != "assistant" {
				return fmt.Errorf("message %d has a call %+v", i, c)
			}
			open[c.ID] = true
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("%d calls are not answered", len(open))
	}
	return nil
}

// streamed sends a turn in small pieces: the text word by word, each call's arguments in two halves.
func streamed(w http.ResponseWriter, model string, turn Turn) {
	w.Header().Set("Content-Type", "text/event-stream")
	chunk := func(delta map[string]any, finish any) {
		raw, _ := json.Marshal(map[string]any{"object": "chat.completion.chunk", "model": model,
			"choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish}}})
		fmt.Fprintf(w, "data: %s\n\n", raw)
		w.(http.Flusher).Flush()
	}
	chunk(map[string]any{"role": "assistant", "content": ""}, nil)
	for _, r := range turn.Text {
		chunk(map[string]any{"content": string(r)}, nil)
	}
	for i, c := range turn.Calls {
		half := len(c.Arguments) / 2
		chunk(map[string]any{"tool_calls": []any{map[string]any{"index": i, "id": c.ID, "type": "function",
			"function": map[string]any{"name": c.Name, "arguments": c.Arguments[:half]}}}}, nil)
		chunk(map[string]any{"tool_calls": []any{map[string]any{"index": i,
			"function": map[string]any{"arguments": c.Arguments[half:]}}}}, nil)
	}
	chunk(map[string]any{}, reason(turn))
	fmt.Fprint(w, "data: {\"choices\":[],\"usage\":{\"total_tokens\":1}}\n\ndata: [DONE]\n\n")
}

func reason(turn Turn) string {
	if len(turn.Calls) > 0 {
		return "tool_calls"
	}
	return "stop"
}

func refuse(w http.ResponseWriter, code int, message string) {
	reply(w, code, map[string]any{"error": map[string]any{"message": message, "type": "api_error",
		"param": nil, "code": nil}})
}

func reply(w http.ResponseWriter, code int, what any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(what)
}
