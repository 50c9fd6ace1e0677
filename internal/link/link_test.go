package link

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pyro-mcp/pyro/internal/wire"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves h and returns a client of it. kill cuts the connection.
func start(t *testing.T, h Handler) (client *Client, kill func()) {
	t.Helper()
	a, b := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c, err := wire.Serve(b, wire.Options{})
		if err != nil {
			t.Error(err)
			return
		}
		Serve(context.Background(), c, h)
		c.Close()
	}()
	conn, err := wire.Dial(a, wire.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		<-ended
	})
	return NewClient(conn), func() { a.Close() }
}

// guest is a small guest: it echoes, refuses, and hangs.
func guest(ctx context.Context, req Request, s *wire.Stream) (any, error) {
	switch req.Op {
	case OpHello:
		return Hello{Version: Version, Build: "test"}, nil
	case OpSync:
		return nil, errors.New("disk on fire\x1b[2J")
	case OpStatus:
		return strings.Repeat("x", 5<<20), nil
	case OpExport:
		s.Send(KindData, make([]byte, 300<<10))
		return Empty{}, nil
	case OpImport:
		in, err := Decode[Import](req)
		if err != nil {
			return nil, err
		}
		var n int64
		for {
			m, err := s.Recv()
			if err == io.EOF {
				return ImportResult{Bytes: n}, nil
			}
			if err != nil {
				return nil, err
			}
			if n += int64(len(m.Data)); n > in.MaxBytes {
				return nil, &Error{Code: CodeBadSeed, Message: "too much"}
			}
		}
	case OpExec:
		return guestExec(ctx, req, s)
	}
	return nil, Unsupported(req.Op)
}

func guestExec(ctx context.Context, req Request, s *wire.Stream) (any, error) {
	e, err := Decode[Exec](req)
	if err != nil {
		return nil, err
	}
	switch e.Command {
	case "hang":
		s.Send(KindStdout, []byte("hanging"))
		<-ctx.Done()
		return nil, ctx.Err()
	case "cat":
		s.Send(KindStderr, []byte("cat says\n"))
		for {
			m, err := s.Recv()
			if err == io.EOF {
				return ExecResult{ExitCode: 7}, nil
			}
			if err != nil {
				return nil, err
			}
			if m.Kind == KindStdin {
				s.Send(KindStdout, m.Data)
			}
		}
	}
	return ExecResult{ExitCode: 3}, nil
}

// clients runs a test against the guest itself and through a supervisor.
func clients(t *testing.T, f func(t *testing.T, c *Client)) {
	t.Run("direct", func(t *testing.T) {
		c, _ := start(t, guest)
		f(t, c)
	})
	t.Run("forwarded", func(t *testing.T) {
		inner, _ := start(t, guest)
		c, _ := start(t, func(ctx context.Context, req Request, s *wire.Stream) (any, error) {
			reply, err := Forward(ctx, s, req, inner, nil)
			if err != nil {
				return nil, err
			}
			return reply.Result, reply.Err()
		})
		f(t, c)
	})
}

func TestOperations(t *testing.T) {
	clients(t, func(t *testing.T, c *Client) {
		ctx := t.Context()
		var hello Hello
		if err := c.Call(ctx, OpHello, Empty{}, &hello); err != nil || hello.Build != "test" {
			t.Errorf("hello: %+v, %v", hello, err)
		}
		for op, code := range map[Op]Code{
			"grease": CodeUnsupported,
			OpSync:   CodeInternal,
			OpStatus: CodeInternal,
		} {
			var e *Error
			if err := c.Call(ctx, op, Empty{}, nil); !errors.As(err, &e) || e.Code != code {
				t.Errorf("%s: %v", op, err)
			} else if strings.Contains(e.Message, "\x1b") {
				t.Errorf("control characters in %q", e.Message)
			}
		}
		var tar bytes.Buffer
		if err := c.Export(ctx, &tar); err != nil || tar.Len() != 300<<10 {
			t.Errorf("export: %d bytes, %v", tar.Len(), err)
		}
		// A Stdin that never ends, of a command that reads none.
		block, w := io.Pipe()
		defer w.Close()
		r, err := c.Exec(ctx, Exec{Command: "true"}, Streams{Stdin: block})
		if diff := cmp.Diff(ExecResult{ExitCode: 3}, r); err != nil || diff != "" {
			t.Errorf("exec: %v %s", err, diff)
		}
		var stdout, stderr bytes.Buffer
		in := bytes.Repeat([]byte("0123456789"), 100_000)
		streams := Streams{Stdin: bytes.NewReader(in), Stdout: &stdout, Stderr: &stderr}
		r, err = c.Exec(ctx, Exec{Command: "cat"}, streams)
		if err != nil || r.ExitCode != 7 || !bytes.Equal(stdout.Bytes(), in) ||
			stderr.String() != "cat says\n" {
			t.Errorf("cat: %+v, %v, %d bytes, %q", r, err, stdout.Len(), stderr.String())
		}
	})
}

// onWrite calls itself when it is written to.
type onWrite func() error

func (f onWrite) Write(b []byte) (int, error) { return len(b), f() }

func TestEndOfContextEndsTheCommand(t *testing.T) {
	clients(t, func(t *testing.T, c *Client) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := c.Exec(ctx, Exec{Command: "hang"}, Streams{
			Stdout: onWrite(func() error { cancel(); return nil }),
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("exec: %v", err)
		}
		broken := errors.New("broken pipe")
		_, err = c.Exec(t.Context(), Exec{Command: "hang"}, Streams{
			Stdout: onWrite(func() error { return broken }),
		})
		if !errors.Is(err, broken) {
			t.Errorf("exec: %v", err)
		}
	})
}

func TestImport(t *testing.T) {
	clients(t, func(t *testing.T, c *Client) {
		ctx := t.Context()
		r, err := c.Import(ctx, Import{MaxBytes: 1 << 20}, bytes.NewReader(make([]byte, 1<<20)))
		if err != nil || r.Bytes != 1<<20 {
			t.Errorf("import: %+v, %v", r, err)
		}
		var refused *Error
		_, err = c.Import(ctx, Import{MaxBytes: 1 << 20}, endless{})
		if !errors.As(err, &refused) || refused.Code != CodeBadSeed {
			t.Errorf("refused import: %v", err)
		}
		bad := errors.New("file vanished")
		source := func() io.Reader { return io.MultiReader(strings.NewReader("abc"), failing{bad}) }
		if _, err = c.Import(ctx, Import{MaxBytes: 1 << 20}, source()); err != bad {
			t.Errorf("import of a broken source: %v", err)
		}
		if _, err = c.Exec(ctx, Exec{Command: "cat"}, Streams{Stdin: source()}); err != bad {
			t.Errorf("exec with a broken source: %v", err)
		}
	})
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestLossIsAnError(t *testing.T) {
	c, kill := start(t, guest)
	_, err := c.Exec(t.Context(), Exec{Command: "hang"}, Streams{
		Stdout: onWrite(func() error { kill(); return nil }),
	})
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeGuestLost {
		t.Errorf("exec: %v", err)
	}
	if err := c.Call(t.Context(), OpHello, Empty{}, nil); !errors.As(err, &e) || e.Code != CodeGuestLost {
		t.Errorf("call: %v", err)
	}
	if _, err := c.Import(t.Context(), Import{}, endless{}); !errors.As(err, &e) || e.Code != CodeGuestLost {
		t.Errorf("import: %v", err)
	}
}

func TestForwardShowsEveryMessage(t *testing.T) {
	inner, killInner := start(t, guest)
	var seen bytes.Buffer
	c, _ := start(t, func(ctx context.Context, req Request, s *wire.Stream) (any, error) {
		reply, err := Forward(ctx, s, req, inner, func(m wire.Message) { seen.Write(m.Data) })
		if err != nil {
			return nil, err
		}
		return reply.Result, reply.Err()
	})
	streams := Streams{Stdin: strings.NewReader("hello")}
	if _, err := c.Exec(t.Context(), Exec{Command: "cat"}, streams); err != nil {
		t.Fatal(err)
	}
	if seen.String() != "cat says\nhello" {
		t.Errorf("seen: %q", seen.String())
	}
	_, err := c.Exec(t.Context(), Exec{Command: "hang"}, Streams{
		Stdout: onWrite(func() error { killInner(); return nil }),
	})
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeGuestLost {
		t.Errorf("exec: %v", err)
	}
}

func TestBadRequests(t *testing.T) {
	c, _ := start(t, guest)
	for _, m := range []wire.Message{
		{Kind: KindControl, Data: []byte("{")},
		{Kind: KindStdin, Data: []byte("x")},
		{Kind: KindControl, Data: []byte(`{"op":"import","params":[1]}`)}} {
		s, err := c.Conn().Open()
		if err != nil {
			t.Fatal(err)
		}
		s.Send(m.Kind, m.Data)
		reply, err := c.receive(s, nil)
		if err != nil || reply.Error == nil || reply.Error.Code != CodeInvalid {
			t.Errorf("%q: %+v, %v", m.Data, reply, err)
		}
		s.Close()
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"result":{"exit_code":0}}`))
	f.Add([]byte(`{"error":{"code":"state","message":"no"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := (&Client{}).parseReply(b)
		if err != nil {
			return
		}
		if r.Error != nil && (r.Error.Message == "" || len(r.Error.Message) > 4*longestMessage) {
			t.Errorf("message of %d bytes", len(r.Error.Message))
		}
		var result ExecResult
		json.Unmarshal(r.Result, &result)
	})
}

func TestALineIsReadByAShellAsItsWords(t *testing.T) {
	for _, c := range []struct {
		exec Exec
		want string
	}{
		{Exec{Command: "a && b"}, "a && b"},
		{Exec{Argv: []string{"git", "--version"}}, "git --version"},
		{Exec{Argv: []string{"echo", "it's", "", "a b"}}, `echo 'it'\''s' '' 'a b'`},
	} {
		if got := c.exec.Line(); got != c.want {
			t.Errorf("%q, not %q", got, c.want)
		}
	}
}

// A caller that vanishes is told from a guest that does, also before the context has heard of it.
func TestForwardTellsWhoIsGone(t *testing.T) {
	for _, command := range []string{"hang", "cat"} {
		for _, victim := range []string{"caller", "guest"} {
			inner, killGuest := start(t, guest)
			gone := make(chan error, 1)
			c, killCaller := start(t, func(_ context.Context, req Request, s *wire.Stream) (any, error) {
				_, err := Forward(context.Background(), s, req, inner, nil)
				gone <- err
				return nil, err
			})
			in, w := io.Pipe()
			defer w.Close()
			begun := make(signal, 1)
			go c.Exec(t.Context(), Exec{Command: command}, Streams{Stdin: in, Stdout: begun, Stderr: begun})
			<-begun
			if command == "cat" { // with output on its way
				go func() {
					for chunk := make([]byte, 1<<10); ; {
						if _, err := w.Write(chunk); err != nil {
							return
						}
					}
				}()
				<-begun
			}
			var far *Error
			if victim == "caller" {
				killCaller()
				if err := <-gone; !errors.Is(err, ErrAskerGone) {
					t.Errorf("%s without its caller: %v", command, err)
				}
				continue
			}
			killGuest()
			if err := <-gone; !errors.As(err, &far) || far.Code != CodeGuestLost {
				t.Errorf("%s without its guest: %v", command, err)
			}
		}
	}
}

// signal tells of writes.
type signal chan struct{}

func (s signal) Write(p []byte) (int, error) {
	select {
	case s <- struct{}{}:
	default:
	}
	return len(p), nil
}
