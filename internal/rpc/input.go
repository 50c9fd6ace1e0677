package rpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// inputWindow is how many bytes of a command's input a client may be ahead of what the command has read. The
// client begins with the whole window, and gets back what is read with wanted notifications.
const inputWindow = 1 << 20

// input is what a client sends of a command's standard input, in pieces, while the command runs. It holds no
// more than inputWindow bytes, so that a command that does not read holds up nobody but itself.
type input struct {
	want func(n int) // tells the client that n more bytes may come

	mu    sync.Mutex
	fresh sync.Cond // something has come, or the end
	held  bytes.Buffer
	read  int // bytes that were read and not wanted again yet
	ended error
}

func newInput(want func(n int)) *input {
	in := &input{want: want}
	in.fresh.L = &in.mu
	return in
}

// put takes a piece. It never blocks.
func (in *input) put(data []byte, end bool) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ended != nil {
		return nil // The command is over, or reads no more: what was on its way is dropped.
	}
	if in.held.Len()+in.read+len(data) > inputWindow {
		return &paramsError{fmt.Sprintf("input: more than the %d bytes that were wanted", inputWindow)}
	}
	in.held.Write(data)
	if end {
		in.ended = io.EOF
	}
	in.fresh.Broadcast()
	return nil
}

// close makes reads fail, those under way too, as the call that they belong to is over.
func (in *input) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.held.Reset()
	in.ended = io.ErrClosedPipe
	in.fresh.Broadcast()
}

// Read waits for input.
func (in *input) Read(p []byte) (int, error) {
	in.mu.Lock()
	for in.held.Len() == 0 && in.ended == nil {
		in.fresh.Wait()
	}
	if in.held.Len() == 0 {
		defer in.mu.Unlock()
		return 0, in.ended
	}
	n, err := in.held.Read(p)
	in.read += n
	wanted := 0
	if in.read >= inputWindow/2 && in.ended == nil {
		wanted, in.read = in.read, 0
	}
	in.mu.Unlock()
	if wanted > 0 {
		in.want(wanted)
	}
	return n, err
}

// feed passes a piece of input on to the call that it is for. A call that is over needs no more.
func (s *server) feed(params json.RawMessage) {
	var piece struct {
		ID   json.RawMessage `json:"id"`
		Data []byte          `json:"data"`
		End  bool            `json:"end"`
	}
	err := json.Unmarshal(params, &piece)
	s.mu.Lock()
	c, ok := s.active[string(piece.ID)]
	s.mu.Unlock()
	if !ok {
		return
	}
	if err == nil {
		err = c.input.put(piece.Data, piece.End)
	}
	if err != nil {
		c.cancel(err)
	}
}

// requestID finds the id at the beginning of a message that is too long to be read, so that its call can be
// refused.
func requestID(beginning []byte) json.RawMessage {
	d := json.NewDecoder(bytes.NewReader(beginning))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	for {
		name, err := d.Token()
		if err != nil {
			return nil
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil
		}
		if name == "id" && len(value) > 0 && value[0] != '{' && value[0] != '[' {
			return value
		}
	}
}
