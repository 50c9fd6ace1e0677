// Package chat asks an OpenAI-compatible chat endpoint, streamed or not. What the endpoint sends is foreign:
// it is bounded here, once, and no answer that ends early is taken for a whole one.
package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

// Bounds on what one answer may hold.
const (
	maxBody      = 8 << 20   // bytes from the endpoint for one answer, framing included
	maxText      = 256 << 10 // bytes of the answer's text, and of one call's arguments
	maxName      = 256       // bytes of a tool's name or a call's id
	maxCalls     = 16        // tool calls of one answer
	maxErrorBody = 64 << 10
)

// Client asks one model at one endpoint.
type Client struct {
	BaseURL string        // up to and including /v1
	Model   string        // as the endpoint names it
	Timeout time.Duration // of one answer; 0 is no limit but the context's
	HTTP    *http.Client
}

// Message is one turn of a conversation. Role is system, user, assistant or tool.
type Message struct {
	Role       string `json:"role"`
	Content    string `json:"content"`
	ToolCalls  []Call `json:"tool_calls,omitempty"`
	ToolCallID string `json:"tool_call_id,omitempty"`
}

// Call is a model's wish to have a tool called. Arguments is JSON as the model wrote it, which may be none.
type Call struct {
	ID        string
	Name      string
	Arguments string
}

// Tool is a function that the model may call. Parameters is anything that encodes as a JSON schema.
type Tool struct {
	Name, Description string
	Parameters        any
}

// Answer is the model's next turn.
type Answer struct {
	Message
	// Streamed says that it came in pieces.
	Streamed bool
}

// request is what the endpoint is sent.
type request struct {
	Model    string    `json:"model"`
	Messages []Message `json:"messages"`
	Tools    []tool    `json:"tools,omitempty"`
	Stream   bool      `json:"stream"`
}

type tool struct {
	Type     string   `json:"type"`
	Function function `json:"function"`
}

type function struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Parameters  any    `json:"parameters,omitempty"`
}

// MarshalJSON writes a call as the protocol has it.
func (c Call) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{
		"id": c.ID, "type": "function", "function": map[string]string{"name": c.Name,
			"arguments": c.Arguments},
	})
}

// Ask sends the conversation and gives the model's next turn. It asks for a stream, and takes what comes: an
// endpoint that cannot stream with tools says so and is asked again without. Failures are an [*Error].
func (c *Client) Ask(ctx context.Context, messages []Message, tools []Tool) (Answer, error) {
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	ask := request{Model: c.Model, Messages: messages, Stream: true}
	for _, t := range tools {
		ask.Tools = append(ask.Tools, tool{"function", function(t)})
	}
	answer, err := c.ask(ctx, ask)
	var refused *Error
	if errors.As(err, &refused) && refused.noStream {
		ask.Stream = false
		answer, err = c.ask(ctx, ask)
	}
	return answer, err
}

func (c *Client) ask(ctx context.Context, ask request) (Answer, error) {
	body, err := json.Marshal(ask)
	if err != nil {
		return Answer{}, fmt.Errorf("cannot encode the conversation: %w", err)
	}
	at := strings.TrimRight(c.BaseURL, "/") + "/chat/completions"
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at, bytes.NewReader(body))
	if err != nil {
		return Answer{}, c.fail(Unreachable, "%q is no URL", c.BaseURL)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "text/event-stream, application/json")
	response, err := c.HTTP.Do(r)
	if err != nil {
		return Answer{}, c.broken(ctx, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return Answer{}, c.refused(response)
	}
	limited := &bounded{r: response.Body, left: maxBody}
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	var answer Answer
	if kind == "text/event-stream" {
		answer, err = readStream(limited)
	} else {
		answer, err = readWhole(limited)
	}
	if err != nil {
		return Answer{}, c.broken(ctx, err)
	}
	return answer, nil
}

// readWhole reads an answer that comes in one piece.
func readWhole(r io.Reader) (Answer, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return Answer{}, err
	}
	var whole struct {
		Choices []struct {
			Message delta `json:"message"`
		} `json:"choices"`
		Error json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(raw, &whole); err != nil {
		return Answer{}, malformed("it is not the JSON of a chat completion (%v)", err)
	}
	if said := errorText(whole.Error); said != "" {
		return Answer{}, &Error{Kind: Refused, Message: "the endpoint says " + said}
	}
	if len(whole.Choices) == 0 {
		return Answer{}, malformed("it has no choices")
	}
	var b builder
	if err := b.add(whole.Choices[0].Message); err != nil {
		return Answer{}, err
	}
	return b.answer(false), nil
}

// bounded fails at its limit, where io.LimitReader would feign an end.
type bounded struct {
	r    io.Reader
	left int64
}

// Read reads on until the limit.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, &Error{Kind: Malformed, Message: fmt.Sprintf("the answer is longer than %d MiB",
			maxBody>>20)}
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
