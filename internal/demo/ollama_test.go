package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/internal/chat"
	"github.com/pyro-mcp/pyro/internal/chat/chattest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engine has no environment and no way to get one: what needs a guest is for the tests on real ones.
func engine(t *testing.T) *pyro.Pyro {
	t.Helper()
	p, err := pyro.New(pyro.WithStateDir(t.TempDir()), pyro.WithCacheDir(t.TempDir()),
		pyro.WithCommand("/nonexistent/pyro"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// says is a model that gives these turns, and the last one for ever.
func says(turns ...chattest.Turn) func(int, chattest.Asked) chattest.Turn {
	return func(n int, _ chattest.Asked) chattest.Turn { return turns[min(n, len(turns)-1)] }
}

func calls(name, arguments string) chattest.Turn {
	return chattest.Turn{Calls: []chat.Call{{ID: "call_x", Name: name, Arguments: arguments}}}
}

func TestOllamaOutcomes(t *testing.T) {
	numbered := func(n int, _ chattest.Asked) chattest.Turn {
		return calls("vm_list_environments", strings.Repeat(" ", n)+"{}")
	}
	for name, c := range map[string]struct {
		script  func(int, chattest.Asked) chattest.Turn
		model   string
		rounds  int
		outcome Outcome
		detail  string
		asked   int
		failed  bool // the model
	}{
		"it only talks": {says(chattest.Turn{Text: "It is 2.47, I am sure."}), "", 0, NoToolCall,
			"I am sure", 3, true},
		"it only talks, one round": {says(chattest.Turn{Text: "2.47"}), "", 1, NoToolCall, "2.47", 1, true},
		"it says nothing":          {says(chattest.Turn{}), "", 0, NoToolCall, "without calling", 3, true},
		"it writes calls as text": {says(chattest.Turn{Text: `{"name":"vm_run","parameters":{}}`}), "", 0,
			NoToolCall, "vm_run", 3, true},
		"an unknown tool": {says(calls("shell", `{"n":1}`), calls("shell", `{"n":2}`),
			calls("bash", `{}`)), "", 0, UnknownTool, `no tool "bash"`, 3, true},
		"an unknown tool, cut off": {says(calls("shell", `{}`)), "", 1, UnknownTool, "task_create", 1, true},
		"arguments are missing": {says(calls("vm_run", `{"n":1}`), calls("vm_run", `{"n":2}`),
			calls("vm_run", `{"command":"a"}`)), "", 0, WrongArguments, "environment", 3, true},
		"a wrong type": {says(calls("vm_run",
			`{"environment":"debian:12","command":"a","timeout_seconds":"x"}`)), "", 1, WrongArguments,
			"timeout_seconds", 1, true},
		"beyond the VM": {says(calls("vm_run",
			`{"environment":"debian:12","command":"a","allow_host_compat":true}`)), "", 1, WrongArguments,
			"allow_host_compat", 1, true},
		"a directory of the host's": {says(calls("task_create",
			`{"environment":"debian:12","source_path":"/etc"}`)), "", 1, WrongArguments, "source_path", 1,
			true},
		"another's task": {says(calls("task_delete", `{"task_id":"task-1"}`)), "", 1, WrongArguments,
			`no task "task-1"`, 1, true},
		"no JSON": {says(calls("vm_run", `{"command":`), calls("vm_run", `[1]`),
			calls("vm_run", `null`)), "", 0, MalformedArguments, "not a JSON object", 3, true},
		"the same call, for ever": {says(calls("vm_list_environments", `{}`)), "", 0, Loop, "3 times", 3,
			true},
		"the same, spaced":     {numbered, "", 0, Loop, "3 times", 3, true},
		"the same broken call": {says(calls("vm_run", `{`)), "", 0, Loop, "3 times", 3, true},
		"it does other things": {says(calls("vm_list_environments", ``), chattest.Turn{Text: "Done!"}), "", 0,
			JobNotDone, "Done!", 4, true},
		"no end in sight": {says(calls("vm_list_environments", ``)), "", 2, RoundLimit, "2 rounds", 2,
			true},
		"the model is missing": {says(chattest.Turn{}), chattest.Missing, 0, Outcome(chat.ModelMissing),
			"ollama pull no-such", 0, false},
		"an error": {says(chattest.Turn{Status: 500, Body: "out of \x1b[31mmemory"}), "", 0,
			Outcome(chat.Refused), "out of [31mmemory", 1, false},
		"a page": {says(chattest.Turn{Status: 200, Body: "<html>"}), "", 0, Outcome(chat.Malformed),
			"--base-url", 1, false},
		"a redirection": {says(chattest.Turn{Status: http.StatusTemporaryRedirect}), "", 0,
			Outcome(chat.Refused), "307", 1, false},
	} {
		for _, whole := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, whole %t", name, whole), func(t *testing.T) {
				endpoint := chattest.Start(t, whole, c.script)
				var out bytes.Buffer
				r, err := Ollama(t.Context(), engine(t), OllamaOptions{
					BaseURL:   endpoint.URL,
					Model:     c.model,
					MaxRounds: c.rounds,
					Out:       &out,
				})
				if err != nil || r.Outcome != c.outcome || r.ModelFailed() != c.failed ||
					endpoint.Asked() != c.asked {
					t.Errorf("got %+v, %v after %d answers", r, err, endpoint.Asked())
				}
				lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
				last := lines[len(lines)-1]
				if !strings.HasPrefix(last, "summary: "+string(c.outcome)+": ") ||
					strings.Count(out.String(), "summary:") != 1 ||
					!strings.Contains(printable(r.Detail+r.Hint), c.detail) ||
					strings.ContainsRune(out.String(), '\x1b') {
					t.Errorf("got %q, %q", r.Detail, out.String())
				}
			})
		}
	}
}

func TestOllamaWithoutEndpoint(t *testing.T) {
	var out bytes.Buffer
	r, err := Ollama(t.Context(), engine(t), OllamaOptions{BaseURL: "http://127.0.0.1:1/v1", Out: &out})
	if err != nil || r.Outcome != Outcome(chat.Unreachable) ||
		!strings.Contains(out.String(), "ollama serve") {
		t.Errorf("got %+v, %v, %q", r, err, out.String())
	}
	silent := chattest.Start(t, false, func(int, chattest.Asked) chattest.Turn {
		<-t.Context().Done() // it ends before the endpoint is closed
		return chattest.Turn{}
	})
	r, err = Ollama(t.Context(), engine(t),
		OllamaOptions{BaseURL: silent.URL, AnswerLimit: 200 * time.Millisecond, Out: &out})
	if err != nil || r.Outcome != Outcome(chat.Silent) {
		t.Errorf("got %+v, %v", r, err)
	}
}

// Pyro's own failures and the caller's end are errors, with a summary line all the same.
func TestOllamaErrors(t *testing.T) {
	var out bytes.Buffer
	endpoint := chattest.Start(t, false,
		says(calls("vm_run", `{"environment":"debian:12","command":"git --version"}`)))
	_, err := Ollama(t.Context(), engine(t),
		OllamaOptions{BaseURL: endpoint.URL, Environment: "no-such:1", Out: &out})
	if err == nil || !strings.Contains(out.String(), "\nsummary: failed: ") {
		t.Errorf("without an environment: got %v, %q", err, out.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := chattest.Start(t, false, func(int, chattest.Asked) chattest.Turn {
		cancel()
		return calls("vm_list_environments", "")
	})
	if _, err = Ollama(ctx, engine(t), OllamaOptions{BaseURL: stopped.URL, Out: &out}); !errors.Is(err,
		context.Canceled) || !strings.Contains(out.String(), "\nsummary: interrupted: ") {
		t.Errorf("interrupted: got %v", err)
	}
}

// What is offered are the MCP server's schemas, without what reaches beyond a VM.
func TestOllamaTools(t *testing.T) {
	var asked chattest.Asked
	endpoint := chattest.Start(t, false, func(_ int, a chattest.Asked) chattest.Turn {
		asked = a
		return chattest.Turn{}
	})
	if _, err := Ollama(t.Context(), engine(t),
		OllamaOptions{BaseURL: endpoint.URL, MaxRounds: 1, Out: &bytes.Buffer{}}); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, tool := range asked.Tools {
		names[tool.Function.Name] = true
		properties, _ := tool.Function.Parameters["properties"].(map[string]any)
		for _, name := range []string{"allow_host_compat", "source_path", "network", "allow", "publish"} {
			if properties[name] != nil {
				t.Errorf("%s is offered %s", tool.Function.Name, name)
			}
		}
		if tool.Type != "function" || tool.Function.Description == "" ||
			tool.Function.Parameters["type"] != "object" {
			t.Errorf("got %+v", tool)
		}
	}
	for _, name := range []string{"vm_run", "task_create", "task_exec", "task_status", "task_logs",
		"task_delete"} {
		if !names[name] {
			t.Errorf("%s is not offered", name)
		}
	}
}

func TestOllamaText(t *testing.T) {
	if got := oneLine("a\n\tb\x1b[2J\x07 " + strings.Repeat("é", 200)); !strings.HasPrefix(got, "a b[2J é") ||
		len([]rune(got)) != lineLimit+1 {
		t.Errorf("got %q", got)
	}
	if got := clip("ééé", 3); got != "é\n[3 bytes left out]" {
		t.Errorf("got %q", got)
	}
	for text, want := range map[string]string{"git version 2.39.5\n": "2.39.5",
		"x\ngit version 2.39.5 (y)": "2.39.5", "git version ?": "", "a git version 2.1": ""} {
		if got := gitVersion(text); got != want {
			t.Errorf("gitVersion(%q) = %q", text, got)
		}
	}
}
