package e2b

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// The Connect protocol in JSON (https://connectrpc.com/docs/protocol): a unary call is a POST of one
// document; messages of a stream stand behind a byte of flags and their length in 4 bytes, big-endian; the
// last one has flagEnd and may hold an error.
const (
	flagEnd      = 2
	maxMessage   = 4 << 20
	keepAliveTag = "Keepalive-Ping-Interval"
)

// connectError is a failure as Connect has it.
type connectError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// unary makes a handler of one call.
func unary[In, Out any](call func(context.Context, *calling, In) (Out, error)) sandboxCall {
	return func(w http.ResponseWriter, r *http.Request, c *calling) {
		var in In
		err := read(r, &in)
		var out Out
		if err == nil {
			out, err = call(r.Context(), c, in)
		}
		if err != nil {
			status, code := describe(err)
			reply(w, status, connectError{code, err.Error()})
			return
		}
		reply(w, http.StatusOK, out)
	}
}

// streaming makes a handler of a call that is answered with a stream of messages.
func streaming[In any](call func(context.Context, *calling, In, *stream) error) sandboxCall {
	return func(w http.ResponseWriter, r *http.Request, c *calling) {
		in, err := receive[In](r.Body)
		s := newStream(w, r)
		defer s.stop()
		if err == nil {
			err = call(r.Context(), c, in, s)
		}
		s.end(err)
	}
}

// receive reads one message of a stream. io.EOF is its end.
func receive[T any](from io.Reader) (message T, err error) {
	var head [5]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return message, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if head[0] == flagEnd {
		return message, io.EOF
	}
	if n > maxMessage || head[0] != 0 {
		return message, &statusError{http.StatusBadRequest, "a message is too long, or compressed"}
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(from, data); err != nil {
		return message, err
	}
	if err := json.Unmarshal(data, &message); err != nil {
		return message, &statusError{http.StatusBadRequest, "a message cannot be read: " + err.Error()}
	}
	return message, nil
}

// stream sends the messages of an answer. It may be used by several goroutines.
type stream struct {
	mu      sync.Mutex
	w       http.ResponseWriter
	control *http.ResponseController
	ticker  *time.Ticker
	over    chan struct{}
}

// newStream begins an answer. A client that asks for it gets a message each so many seconds, so that no proxy
// takes a quiet stream for a dead one.
func newStream(w http.ResponseWriter, r *http.Request) *stream {
	w.Header().Set("Content-Type", "application/connect+json")
	w.WriteHeader(http.StatusOK)
	s := &stream{w: w, control: http.NewResponseController(w), over: make(chan struct{})}
	_ = s.control.Flush()
	if seconds, err := strconv.Atoi(r.Header.Get(keepAliveTag)); err == nil && seconds > 0 {
		s.ticker = time.NewTicker(time.Duration(seconds) * time.Second)
		go s.keepAlive()
	}
	return s
}

func (s *stream) keepAlive() {
	for {
		select {
		case <-s.ticker.C:
			_ = s.send(map[string]any{"event": map[string]any{"keepalive": map[string]any{}}})
		case <-s.over:
			return
		}
	}
}

func (s *stream) stop() {
	if s.ticker != nil {
		s.ticker.Stop()
	}
	close(s.over)
}

func (s *stream) send(message any) error { return s.write(0, message) }

func (s *stream) end(err error) {
	last := map[string]any{}
	if err != nil {
		_, code := describe(err)
		last["error"] = connectError{code, err.Error()}
	}
	_ = s.write(flagEnd, last) // Who has gone needs no end.
}

func (s *stream) write(flags byte, message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	frame := make([]byte, 5, 5+len(data))
	frame[0] = flags
	binary.BigEndian.PutUint32(frame[1:], uint32(len(data)))
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.w.Write(append(frame, data...)); err != nil {
		return fmt.Errorf("the client has gone: %w", err)
	}
	return s.control.Flush()
}

// timeoutOf is how long a client waits for a call's end, 0 without a limit.
func timeoutOf(r *http.Request) time.Duration {
	ms, err := strconv.ParseInt(r.Header.Get("Connect-Timeout-Ms"), 10, 64)
	if err != nil || ms <= 0 {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// ended tells whether reading a stream stopped at its end.
func ended(err error) bool { return errors.Is(err, io.EOF) }
