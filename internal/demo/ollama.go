package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/internal/chat"
)

// The defaults of [OllamaOptions].
const (
	DefaultBaseURL   = "http://localhost:11434/v1"
	DefaultModel     = "llama3.2:3b"
	DefaultMaxRounds = 8
)

const (
	answerLimit  = 5 * time.Minute // for one answer: a model may have to be loaded first
	callLimit    = 5 * time.Minute // for one call of a tool
	cleanLimit   = time.Minute
	mistakeLimit = 3 // mistakes after which a model is given up
	sameLimit    = 3 // times that one and the same call may be made
	nudgeLimit   = 2 // answers without a call that are sent back
)

// OllamaOptions says which model is asked, and where. The zero value of each field is its documented default.
type OllamaOptions struct {
	BaseURL     string        // of an OpenAI-compatible endpoint; "" is DefaultBaseURL
	Model       string        // "" is DefaultModel
	Environment string        // "" is debian:12
	MaxRounds   int           // questions put to the model; 0 is DefaultMaxRounds
	AnswerLimit time.Duration // for one answer; 0 is 5 minutes
	Verbose     bool          // the conversation in full
	Out         io.Writer
	Progress    func(pyro.PullProgress) // of a pull that comes first; may be nil
}

// Outcome is one way in which the demo ends.
type Outcome string

// The outcomes that are the model's, beside the kinds of package chat, which are the endpoint's.
const (
	Done               Outcome = "done"
	NoToolCall         Outcome = "no tool call"        // it only talked
	UnknownTool        Outcome = "unknown tool"        // it called what was not offered
	WrongArguments     Outcome = "wrong arguments"     // its calls do not fit the tool's schema
	MalformedArguments Outcome = "malformed arguments" // they are no JSON object
	ToolFailed         Outcome = "tool failed"         // its calls fit, and failed
	Loop               Outcome = "loop"                // it made the same call again and again
	JobNotDone         Outcome = "job not done"        // it stopped before the command had run
	WrongAnswer        Outcome = "wrong answer"        // the command ran, and the answer is not what it said
	RoundLimit         Outcome = "round limit"         // it went on and on
	NoGuest            Outcome = "no guest"            // pyro could not start a VM
)

// OllamaResult is how a run ended.
type OllamaResult struct {
	Outcome Outcome
	Detail  string // the model's answer, or what went wrong
	Hint    string // what to do about it, or ""
	Rounds  int    // questions put to the model
	Calls   int    // of tools that were run
}

// ModelFailed says that endpoint and pyro worked, and the model did not do the job.
func (r OllamaResult) ModelFailed() bool {
	switch r.Outcome {
	case NoToolCall, UnknownTool, WrongArguments, MalformedArguments, ToolFailed, Loop, JobNotDone,
		WrongAnswer, RoundLimit:
		return true
	}
	return false
}

// talk is one run of the demo.
type talk struct {
	o        OllamaOptions
	client   *chat.Client
	tools    *tools
	messages []chat.Message
	result   OllamaResult

	seen     map[string]int // how often each call was made
	mistakes int
	nudges   int
	trouble  Outcome // of the last round; "" if it went well
	said     string  // about that trouble
}

// Ollama asks a model to do a small job with the tools, a log line for each step and a summary line at the
// end. It removes the tasks that the model made. An error is pyro's own, or the end of ctx; all else is the
// result's outcome.
func Ollama(ctx context.Context, p *pyro.Pyro, o OllamaOptions) (result OllamaResult, err error) {
	o.fill()
	begun := time.Now()
	web := http.DefaultTransport.(*http.Transport).Clone()
	defer web.CloseIdleConnections()
	t := &talk{o: o, seen: map[string]int{}, client: &chat.Client{
		BaseURL: o.BaseURL,
		Model:   o.Model,
		Timeout: o.AnswerLimit,
		HTTP: &http.Client{Transport: web, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}},
	}}
	defer func() {
		result = t.result
		t.summary(begun, err)
	}()
	if t.tools, err = openTools(ctx, p, o); err != nil {
		return t.result, err
	}
	defer func() { err = errors.Join(err, t.tools.close(context.WithoutCancel(ctx))) }()
	t.messages = job(o.Environment)
	return t.result, t.run(ctx)
}

func (o *OllamaOptions) fill() {
	if o.BaseURL == "" {
		o.BaseURL = DefaultBaseURL
	}
	if o.Model == "" {
		o.Model = DefaultModel
	}
	if o.Environment == "" {
		o.Environment = "debian:12"
	}
	if o.MaxRounds <= 0 {
		o.MaxRounds = DefaultMaxRounds
	}
	if o.AnswerLimit <= 0 {
		o.AnswerLimit = answerLimit
	}
}

// job is what the model is asked to do. Its answer cannot be known without doing it.
func job(environment string) []chat.Message {
	return []chat.Message{
		{Role: "system", Content: "You run commands in Linux virtual machines with the tools that you are " +
			"given. Call a tool to find things out; never guess."},
		{Role: "user", Content: fmt.Sprintf(
			"Which version of git is in the environment %q? Call the tool vm_run with that environment "+
				"and the command `git --version`, then tell me the version that it printed.", environment)},
	}
}

// run puts questions until the job is done, or it is clear that it will not be.
func (t *talk) run(ctx context.Context) error {
	for t.result.Outcome == "" && t.result.Rounds < t.o.MaxRounds {
		t.result.Rounds++
		begun := time.Now()
		answer, err := t.client.Ask(ctx, t.messages, t.tools.offered)
		var failed *chat.Error
		if errors.As(err, &failed) {
			t.end(Outcome(failed.Kind), failed.Message)
			t.result.Hint = advice(failed.Kind, t.o.Model)
			return nil
		}
		if err != nil {
			return err
		}
		t.messages = append(t.messages, answer.Message)
		t.log(fmt.Sprintf("round %d: ask %s", t.result.Rounds, t.o.Model), begun, wish(answer))
		t.trouble = ""
		if len(answer.ToolCalls) == 0 {
			t.judge(answer.Content)
			continue
		}
		for _, call := range answer.ToolCalls {
			if err := t.call(ctx, call); err != nil || t.result.Outcome != "" {
				return err
			}
		}
	}
	if t.result.Outcome == "" {
		t.giveUp()
	}
	return nil
}

// giveUp ends a talk that used up its rounds: by what was last wrong, if something was.
func (t *talk) giveUp() {
	if t.trouble != "" {
		t.end(t.trouble, t.said)
		return
	}
	t.end(RoundLimit, fmt.Sprintf("the model was still calling tools after %s",
		count(t.o.MaxRounds, "round")))
}

func (t *talk) end(o Outcome, detail string) { t.result.Outcome, t.result.Detail = o, detail }

// call runs one of the model's calls and puts its result into the conversation.
func (t *talk) call(ctx context.Context, c chat.Call) error {
	begun := time.Now()
	arguments, key := decode(c)
	if t.seen[key]++; t.seen[key] == sameLimit {
		t.end(Loop, fmt.Sprintf("the model made the same call %d times: %s %s", sameLimit, c.Name,
			c.Arguments))
		return nil
	}
	done, err := t.tools.call(ctx, c.Name, arguments)
	if err != nil {
		return err
	}
	if done.ran {
		t.result.Calls++
	}
	t.messages = append(t.messages, chat.Message{Role: "tool", ToolCallID: c.ID, Content: done.text})
	t.log("call "+c.Name, begun, done.text)
	switch done.trouble {
	case "":
	case NoGuest:
		t.end(NoGuest, done.text)
		t.result.Hint = "run 'pyro doctor' to see what this host lacks"
	default:
		t.trouble, t.said = done.trouble, done.text
		if t.mistakes++; t.mistakes == mistakeLimit {
			t.end(t.trouble, fmt.Sprintf("%d calls failed, the last one so: %s", t.mistakes, t.said))
		}
	}
	return nil
}

// judge looks at an answer without a call: it is the end if it holds what the command printed; else the
// model is told what is missing.
func (t *talk) judge(text string) {
	found := t.tools.found
	var nudge string
	switch {
	case found != "" && strings.Contains(text, found):
		t.end(Done, text)
		return
	case found != "":
		t.trouble, t.said = WrongAnswer, fmt.Sprintf("git --version printed %s, and the model says: %s",
			found, text)
		nudge = "That is not what the command printed. Look at the result of the tool again, and tell me " +
			"the version in it."
	case t.result.Calls == 0 && t.mistakes == 0:
		t.trouble, t.said = NoToolCall, "the model answered without calling a tool: "+text
		nudge = "Do not answer from memory, and do not write the call as text: call the tool vm_run."
	default:
		t.trouble, t.said = JobNotDone, "the model stopped before git --version had run: "+text
		nudge = "The command git --version has not run yet. Call the tool vm_run with it."
	}
	if t.nudges++; t.nudges > nudgeLimit {
		t.end(t.trouble, t.said)
		return
	}
	t.messages = append(t.messages, chat.Message{Role: "user", Content: nudge})
}

// advice says what to do about an endpoint's failure.
func advice(kind chat.Kind, model string) string {
	switch kind {
	case chat.Unreachable:
		return "start it with 'ollama serve', or name another with --base-url"
	case chat.ModelMissing:
		return fmt.Sprintf("get it with 'ollama pull %s', or name another with --model", model)
	case chat.NoTools:
		return "name a model that can with --model"
	case chat.Refused, chat.Malformed:
		return "is --base-url the one of an OpenAI-compatible API, up to and including /v1?"
	}
	return ""
}
