package link

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro/internal/wire"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve gives a client of a handler, over a real socket.
func serve(t *testing.T, h Handler) *Client {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		if ends[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		c, err := wire.Serve(ends[1], wire.Options{})
		if err == nil {
			Serve(context.Background(), c, h)
		}
	}()
	c, err := wire.Dial(ends[0], wire.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); <-served })
	return NewClient(c)
}

// shout answers an exec with its input in capitals, and ends as told.
func shout(ctx context.Context, req Request, s *wire.Stream) (any, error) {
	switch req.Op {
	case OpExec:
		for {
			m, err := s.Recv()
			if err == io.EOF {
				return ExecResult{ExitCode: 3}, nil
			}
			if err != nil {
				return nil, err
			}
			if err := s.Send(KindStdout, bytes.ToUpper(m.Data)); err != nil {
				return nil, err
			}
		}
	case OpStatus:
		<-ctx.Done()
		return nil, ctx.Err()
	case OpImport:
		return nil, &Error{Code: CodeBadSeed, Message: "no, thank you", Hint: "try another"}
	}
	return nil, &Error{Code: CodeUnsupported, Message: "what?"}
}

func TestExecCarriesInputOutputAndResult(t *testing.T) {
	c := serve(t, shout)
	var out bytes.Buffer
	in := strings.Repeat("hello ", 100000)
	result, err := c.Exec(t.Context(), Exec{}, Streams{Stdin: strings.NewReader(in), Stdout: &out})
	if err != nil || result.ExitCode != 3 || out.String() != strings.ToUpper(in) {
		t.Fatalf("%+v, %d bytes, %v", result, out.Len(), err)
	}
}

func TestForwardKeepsTheReplyBack(t *testing.T) {
	far := serve(t, shout)
	var tapped bytes.Buffer
	near := serve(t, func(ctx context.Context, req Request, s *wire.Stream) (any, error) {
		reply, err := Forward(ctx, s, req, far, func(m wire.Message) { tapped.Write(m.Data) })
		if err != nil {
			return nil, err
		}
		if reply.Error != nil {
			return nil, reply.Error
		}
		return reply.Result, nil
	})
	var out bytes.Buffer
	result, err := near.Exec(t.Context(), Exec{}, Streams{Stdin: strings.NewReader("abc"), Stdout: &out})
	if err != nil || result.ExitCode != 3 || out.String() != "ABC" || tapped.String() != "ABC" {
		t.Fatalf("%+v %q %q %v", result, out.String(), tapped.String(), err)
	}
	var e *Error
	if err := near.Call(t.Context(), "grease", Empty{}, nil); !errors.As(err, &e) || e.Code != CodeUnsupported {
		t.Fatal(err)
	}
}

// endless is a source that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestARefusalStopsTheSource(t *testing.T) {
	c := serve(t, shout)
	_, err := c.Import(t.Context(), Import{}, endless{})
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeBadSeed || e.Hint != "try another" {
		t.Fatal(err)
	}
}

func TestTheContextEndsTheHandler(t *testing.T) {
	c := serve(t, shout)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.Call(ctx, OpStatus, Empty{}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestADeathIsNoSuccess(t *testing.T) {
	c := serve(t, func(_ context.Context, _ Request, s *wire.Stream) (any, error) {
		s.Close()
		return nil, nil
	})
	var e *Error
	if err := c.Call(t.Context(), OpSync, Empty{}, nil); !errors.As(err, &e) || e.Code != CodeGuestLost {
		t.Fatal(err)
	}
}

func TestASourceThatFailsIsTheError(t *testing.T) {
	c := serve(t, shout)
	broken := errors.New("the disk is gone")
	_, err := c.Exec(t.Context(), Exec{}, Streams{Stdin: io.MultiReader(strings.NewReader("x"), errReader{broken})})
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
}

type errReader struct{ error }

func (e errReader) Read([]byte) (int, error) { return 0, e.error }

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
