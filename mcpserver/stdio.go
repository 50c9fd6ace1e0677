package mcpserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/pyro-mcp/pyro/internal/text"
)

// lineLimit bounds one message on stdio. A longer line is read past and refused.
const lineLimit = 8 << 20

// endGrace is how long requests that came before the input's end have to be answered, before they are
// cancelled: so that a script may write its requests, close its end and read the answers.
const endGrace = 500 * time.Millisecond

// lineTransport carries a message a line. Unlike the SDK's, it answers a bad line with an error and goes on.
type lineTransport struct {
	in  io.Reader
	out io.Writer
}

// Connect starts to read. The reading goroutine ends with the input, or with the process if that never
// ends.
func (t *lineTransport) Connect(context.Context) (mcp.Connection, error) {
	c := &lineConn{
		in:       t.in,
		out:      t.out,
		messages: make(chan jsonrpc.Message),
		idle:     make(chan struct{}, 1),
		ended:    make(chan struct{}),
		closed:   make(chan struct{}),
	}
	go c.read()
	return c, nil
}

type lineConn struct {
	in       io.Reader
	writing  sync.Mutex
	out      io.Writer
	messages chan jsonrpc.Message
	pending  atomic.Int64  // requests that are not answered yet
	idle     chan struct{} // is told when there are none
	ended    chan struct{} // the input is at its end
	err      error         // why, before ended is closed
	closing  sync.Once
	closed   chan struct{}
}

// SessionID is empty: a connection is a session.
func (c *lineConn) SessionID() string { return "" }

// Close ends the connection. The streams stay the caller's.
func (c *lineConn) Close() error {
	c.closing.Do(func() { close(c.closed) })
	return nil
}

// Read gives the next message.
func (c *lineConn) Read(ctx context.Context) (jsonrpc.Message, error) {
	select {
	case m := <-c.messages:
		return m, nil
	case <-c.ended:
		return nil, c.err
	case <-c.closed:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Write sends a message as one line.
func (c *lineConn) Write(ctx context.Context, m jsonrpc.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	data, err := jsonrpc.EncodeMessage(m)
	if err != nil {
		return err
	}
	if _, ok := m.(*jsonrpc.Response); ok {
		defer c.answered()
	}
	return c.writeLine(data)
}

func (c *lineConn) answered() {
	if c.pending.Add(-1) == 0 {
		select {
		case c.idle <- struct{}{}:
		default:
		}
	}
}

// settle waits for the answers to what came before the input's end, for as long as endGrace.
func (c *lineConn) settle() {
	late := time.NewTimer(endGrace)
	defer late.Stop()
	for c.pending.Load() > 0 {
		select {
		case <-c.idle:
		case <-late.C:
			return
		case <-c.closed:
			return
		}
	}
}

func (c *lineConn) writeLine(data []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := c.out.Write(append(data, '\n'))
	return err
}

func (c *lineConn) read() {
	reader := bufio.NewReaderSize(c.in, 64<<10)
	for {
		line, _, err := text.Line(reader, lineLimit, 0)
		if len(bytes.TrimSpace(line)) > 0 || errors.Is(err, text.ErrTooLong) {
			m, refusal := decode(line, err)
			if refusal != nil {
				err = errors.Join(notTooLong(err), c.writeLine(refusal))
			} else {
				if r, ok := m.(*jsonrpc.Request); ok && r.ID.IsValid() {
					c.pending.Add(1)
				}
				select {
				case c.messages <- m:
				case <-c.closed:
					return
				}
			}
		}
		if err != nil {
			c.settle()
			c.err = err
			close(c.ended)
			return
		}
	}
}

func notTooLong(err error) error {
	if errors.Is(err, text.ErrTooLong) {
		return nil
	}
	return err
}

// decode makes a message of a line, or else the answer that refuses it.
func decode(line []byte, err error) (jsonrpc.Message, []byte) {
	if errors.Is(err, text.ErrTooLong) {
		return nil, refuse(nil, jsonrpc.CodeInvalidRequest,
			fmt.Sprintf("the message is longer than %d bytes", lineLimit))
	}
	if !json.Valid(line) {
		return nil, refuse(nil, jsonrpc.CodeParseError, "the line is not one JSON value")
	}
	m, err := jsonrpc.DecodeMessage(line)
	if err != nil {
		var request struct {
			ID json.RawMessage `json:"id"`
		}
		_ = json.Unmarshal(line, &request)
		return nil, refuse(request.ID, jsonrpc.CodeInvalidRequest,
			"not a JSON-RPC 2.0 message (batches are not taken): "+err.Error())
	}
	return m, nil
}

func refuse(id json.RawMessage, code int64, message string) []byte {
	if len(id) == 0 || id[0] == '{' || id[0] == '[' {
		id = json.RawMessage("null")
	}
	data, _ := json.Marshal(map[string]any{
		"jsonrpc": "2.0", "id": id, "error": map[string]any{"code": code, "message": message},
	})
	return data
}
