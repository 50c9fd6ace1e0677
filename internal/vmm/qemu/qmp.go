package qemu

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxMessage bounds one line of QEMU's. What we ask for is answered in far less; a QEMU that a guest has
// taken over must not fill our memory.
const maxMessage = 256 << 10

// maxWaiting bounds the commands in flight.
const maxWaiting = 16

// errQMPClosed is what a command gets that QEMU has not answered before it ended.
var errQMPClosed = errors.New("qemu closed its control connection")

// message is anything that QEMU sends: a greeting, an answer or an event.
type message struct {
	Greeting json.RawMessage `json:"QMP"`
	ID       json.RawMessage `json:"id"`
	Return   json.RawMessage `json:"return"`
	Error    *qmpError       `json:"error"`
	Event    string          `json:"event"`
	Data     json.RawMessage `json:"data"`
}

// qmpError is QEMU's refusal of a command.
type qmpError struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

func (e *qmpError) Error() string { return sentence(e.Desc) }

// parseMessage reads one line, which must be one JSON object of a known sort.
func parseMessage(line []byte) (message, error) {
	var m message
	if len(line) > maxMessage {
		return m, fmt.Errorf("qemu sent a message of more than %d bytes", maxMessage)
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return m, fmt.Errorf("qemu sent a message that is not JSON: %w", err)
	}
	if m.Greeting == nil && m.Return == nil && m.Error == nil && m.Event == "" {
		return m, errors.New("qemu sent a message that is no greeting, answer or event")
	}
	return m, nil
}

// qmpConn is the client of one QEMU's control connection. Its owner calls drain, which ends its goroutine.
type qmpConn struct {
	conn    *net.UnixConn
	onEvent func(name string, data json.RawMessage) // called in order; must not block

	mu      sync.Mutex
	last    int
	waiting map[int]chan message
	err     error         // why reading ended
	ended   chan struct{} // closed when reading has ended
}

// newQMP speaks over our end of the socketpair, which it takes over.
func newQMP(end *os.File, onEvent func(string, json.RawMessage)) (*qmpConn, error) {
	defer end.Close()
	conn, err := net.FileConn(end)
	if err != nil {
		return nil, err
	}
	m := &qmpConn{
		conn:    conn.(*net.UnixConn),
		onEvent: onEvent,
		waiting: map[int]chan message{},
		ended:   make(chan struct{}),
	}
	go m.read()
	return m, nil
}

// drain handles what a QEMU that has ended had to say, and ends the connection.
func (m *qmpConn) drain() {
	m.conn.SetReadDeadline(time.Now().Add(time.Second))
	<-m.ended
	m.conn.Close()
}

func (m *qmpConn) read() {
	defer close(m.ended)
	lines := bufio.NewScanner(m.conn)
	lines.Buffer(make([]byte, 0, 4096), maxMessage)
	err := errQMPClosed
	for lines.Scan() {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		got, bad := parseMessage(bytes.Clone(line))
		if bad != nil {
			err = bad
			break
		}
		m.dispatch(got)
	}
	m.mu.Lock()
	m.err = err
	m.mu.Unlock()
}

func (m *qmpConn) dispatch(got message) {
	if got.Event != "" {
		m.onEvent(got.Event, got.Data)
		return
	}
	id, err := strconv.Atoi(string(got.ID))
	if err != nil {
		return // the greeting, or an answer to nobody
	}
	m.mu.Lock()
	reply := m.waiting[id]
	delete(m.waiting, id)
	m.mu.Unlock()
	if reply != nil {
		reply <- got
	}
}

// execute runs one command and puts its answer into result, if that is not nil. A file goes with the
// command, for getfd.
func (m *qmpConn) execute(
	ctx context.Context, command string, arguments any, file *os.File, result any,
) error {
	id, reply, err := m.register()
	if err != nil {
		return err
	}
	defer m.forget(id)
	line, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        int    `json:"id"`
	}{command, arguments, id})
	if err != nil {
		return err
	}
	var rights []byte
	if file != nil {
		rights = unix.UnixRights(int(file.Fd()))
	}
	deadline, _ := ctx.Deadline() // None takes away that of the command before.
	m.conn.SetWriteDeadline(deadline)
	if _, _, err := m.conn.WriteMsgUnix(append(line, '\n'), rights, nil); err != nil {
		return fmt.Errorf("cannot send %s: %w: %w", command, errQMPClosed, err)
	}
	select {
	case got := <-reply:
		if got.Error != nil {
			return fmt.Errorf("qemu refused %s: %w", command, got.Error)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(got.Return, result)
	case <-m.ended:
		return fmt.Errorf("no answer to %s: %w", command, m.err)
	case <-ctx.Done():
		return fmt.Errorf("no answer to %s: %w", command, ctx.Err())
	}
}

func (m *qmpConn) register() (int, chan message, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiting) >= maxWaiting {
		return 0, nil, errors.New("too many commands are waiting for qemu")
	}
	m.last++
	reply := make(chan message, 1) // dispatch never blocks
	m.waiting[m.last] = reply
	return m.last, reply, nil
}

func (m *qmpConn) forget(id int) {
	m.mu.Lock()
	delete(m.waiting, id)
	m.mu.Unlock()
}
