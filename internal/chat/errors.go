package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Kind is the kind of a failure.
type Kind string

// The kinds of failure.
const (
	Unreachable  Kind = "endpoint unreachable" // nothing answers at the address
	Silent       Kind = "no answer in time"
	Refused      Kind = "endpoint error" // it answered with an error
	ModelMissing Kind = "model missing"
	NoTools      Kind = "model without tools" // the model cannot call any
	Malformed    Kind = "malformed answer"    // what came is not the protocol, too long, or cut short
)

// Error says how asking failed, in one sentence.
type Error struct {
	Kind    Kind
	Message string
	Err     error

	noStream bool // the endpoint does not stream, or not with tools
}

// Error gives the sentence.
func (e *Error) Error() string { return e.Message }

// Unwrap gives the cause, if there is one.
func (e *Error) Unwrap() error { return e.Err }

func malformed(format string, args ...any) error {
	return &Error{Kind: Malformed, Message: "cannot read the answer: " + fmt.Sprintf(format, args...)}
}

func (c *Client) fail(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Message: fmt.Sprintf("cannot ask model %q: ", c.Model) +
		fmt.Sprintf(format, args...)}
}

// broken words the failure of a connection. The end of the caller's context stays what it is.
func (c *Client) broken(ctx context.Context, err error) error {
	var known *Error
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return c.fail(Silent, "%s gave no answer within %v", c.BaseURL, c.Timeout)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &known):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return c.fail(Malformed, "%s closed the connection in the middle of its answer", c.BaseURL)
	}
	cause := err
	var asking *url.Error // says again what we say
	if errors.As(err, &asking) {
		cause = asking.Err
	}
	return &Error{Kind: Unreachable, Message: fmt.Sprintf("cannot ask model %q at %s: %v", c.Model, c.BaseURL,
		cause), Err: err}
}

// refused words an answer that is an error.
func (c *Client) refused(response *http.Response) error {
	raw, _ := io.ReadAll(io.LimitReader(response.Body, maxErrorBody))
	said := errorText(raw)
	low := strings.ToLower(said)
	missing := strings.Contains(low, "not found") || strings.Contains(low, "not exist") ||
		strings.Contains(low, "not_found")
	switch {
	case strings.Contains(low, "model") && missing:
		return c.fail(ModelMissing, "the endpoint does not have it: %s", said)
	case strings.Contains(low, "not support tools"):
		return c.fail(NoTools, "it cannot call tools: %s", said)
	}
	if said == "" {
		said = "no reason given"
	}
	err := &Error{Kind: Refused, Message: fmt.Sprintf("cannot ask model %q: %s answered %s: %s", c.Model,
		c.BaseURL, response.Status, said)}
	err.noStream = response.StatusCode >= 400 && strings.Contains(low, "stream")
	return err
}

// errorText finds the words in an error, in the forms that endpoints use: {"error":{"message":…}},
// {"error":"…"}, {"message":…}, "…" or plain text. It is "" if there are none.
func errorText(raw []byte) string {
	var outer struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(raw, &outer) == nil && len(outer.Error) > 0 {
		raw = outer.Error
	}
	var inner struct {
		Message string `json:"message"`
		Code    any    `json:"code"`
	}
	text := string(raw)
	switch {
	case text == "null":
		return ""
	case json.Unmarshal(raw, &inner) == nil && inner.Message != "":
		text = inner.Message
		if code, ok := inner.Code.(string); ok && code != "" {
			text += " (" + code + ")"
		}
	default:
		_ = json.Unmarshal(raw, &text) // else the text is what came
	}
	return shorten(text, 300)
}

func shorten(text string, limit int) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return text
}
