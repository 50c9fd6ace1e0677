package chat

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// delta is a message, or a piece of one.
type delta struct {
	Content   *string     `json:"content"`
	ToolCalls []deltaCall `json:"tool_calls"`
}

type deltaCall struct {
	Index    *int   `json:"index"`
	ID       string `json:"id"`
	Function struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	} `json:"function"`
}

// readStream reads server-sent events, each a piece of the answer, up to the one that says that it is the
// last. A stream that just ends is broken.
func readStream(r io.Reader) (Answer, error) {
	lines := bufio.NewReader(r)
	var b builder
	finished := false
	for {
		data, err := event(lines)
		switch {
		case errors.Is(err, io.EOF) && finished:
			return b.answer(true), nil
		case errors.Is(err, io.EOF):
			return Answer{}, &Error{Kind: Malformed, Message: "the stream ended in the middle of the answer",
				Err: io.ErrUnexpectedEOF}
		case err != nil:
			return Answer{}, err
		case string(data) == "[DONE]":
			return b.answer(true), nil
		}
		last, err := b.chunk(data)
		if err != nil {
			return Answer{}, err
		}
		finished = finished || last
	}
}

// event gives the data of the next event that has any. The reader below bounds its length.
func event(lines *bufio.Reader) ([]byte, error) {
	var data []byte
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			// An event without the empty line behind it is no event.
			return nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			if data != nil {
				return bytes.TrimSpace(data), nil
			}
			continue
		}
		if value, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			data = append(append(data, value...), '\n')
		}
	}
}

// builder puts an answer together.
type builder struct {
	text  bytes.Buffer
	calls []partial
	slots map[int]int // where the pieces of the call with the endpoint's number go
}

// partial is a call whose pieces are still coming.
type partial struct {
	id, name  string
	arguments []byte
}

// chunk adds one event, and says whether the answer ends with it.
func (b *builder) chunk(data []byte) (last bool, err error) {
	var c struct {
		Choices []struct {
			Delta        delta   `json:"delta"`
			FinishReason *string `json:"finish_reason"`
		} `json:"choices"`
		Error json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return false, malformed("an event of its stream is not the JSON of a chunk (%v)", err)
	}
	if said := errorText(c.Error); said != "" {
		return false, &Error{Kind: Refused, Message: "the endpoint says " + said}
	}
	if len(c.Choices) == 0 {
		return false, nil // some end with figures alone
	}
	reason := c.Choices[0].FinishReason
	return reason != nil && *reason != "", b.add(c.Choices[0].Delta)
}

func (b *builder) add(d delta) error {
	if d.Content != nil {
		if b.text.Len()+len(*d.Content) > maxText {
			return malformed("its text is longer than %d KiB", maxText>>10)
		}
		b.text.WriteString(*d.Content)
	}
	for _, piece := range d.ToolCalls {
		if err := b.addCall(piece); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) addCall(piece deltaCall) error {
	call, err := b.slot(piece)
	if err != nil {
		return err
	}
	if piece.ID != "" {
		call.id = piece.ID
	}
	if piece.Function.Name != "" {
		call.name = piece.Function.Name
	}
	call.arguments = append(call.arguments, argumentText(piece.Function.Arguments)...)
	if len(call.id) > maxName || len(call.name) > maxName || len(call.arguments) > maxText {
		return malformed("a tool call is longer than %d KiB", maxText>>10)
	}
	return nil
}

// slot finds the call that a piece belongs to. Endpoints differ: some number the calls, some give every call
// the number 0 and an id of its own, some do neither, and a piece without a name goes on with the call
// before.
func (b *builder) slot(piece deltaCall) (*partial, error) {
	at := len(b.calls) - 1
	same := at >= 0 && piece.Function.Name == ""
	if piece.Index != nil {
		at, same = b.find(*piece.Index)
	}
	if same && (piece.ID == "" || b.calls[at].id == "" || b.calls[at].id == piece.ID) {
		return &b.calls[at], nil
	}
	if len(b.calls) == maxCalls {
		return nil, malformed("it calls more than %d tools at once", maxCalls)
	}
	b.calls = append(b.calls, partial{})
	at = len(b.calls) - 1
	if piece.Index != nil {
		b.slots[*piece.Index] = at
	}
	return &b.calls[at], nil
}

func (b *builder) find(index int) (at int, found bool) {
	if b.slots == nil {
		b.slots = map[int]int{}
	}
	at, found = b.slots[index]
	return at, found
}

// argumentText gives the arguments as the model wrote them: the protocol has them as a string of JSON, and
// some endpoints send the JSON itself.
func argumentText(raw json.RawMessage) string {
	var text string
	if len(raw) == 0 || string(raw) == "null" {
		return ""
	}
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}

func (b *builder) answer(streamed bool) Answer {
	a := Answer{Message: Message{Role: "assistant", Content: b.text.String()}, Streamed: streamed}
	for i, p := range b.calls {
		if p.id == "" {
			p.id = fmt.Sprintf("call_%d", i+1)
		}
		a.ToolCalls = append(a.ToolCalls, Call{ID: p.id, Name: p.name, Arguments: string(p.arguments)})
	}
	return a
}
