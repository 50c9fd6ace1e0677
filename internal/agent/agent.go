// Package agent is PID 1 of a guest: it mounts, reaps, runs commands and moves files, and trusts nothing that the
// host did not send.
package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/pyro-mcp/pyro/internal/archive"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/wire"
	"golang.org/x/sys/unix"
)

// Agent answers the host.
type Agent struct {
	upper  *os.Root // what differs from the base image
	reaper *reaper
	null   *os.File
	group  func() (group, error) // makes one for each command
	quiet  func() error          // ends all commands

	mu          sync.Mutex
	configured  *account // nil until the guest is a machine of its own
	env         []string
	workDir     string
	identity    *identity // nil until it is opened, ahead in a template
	madeWorkDir string    // by us, rather than by the environment
}

// Main is the guest's first process. It does not return.
func Main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "pyro-agent is the first process of a guest and of no other use")
		os.Exit(2)
	}
	a, port, err := boot()
	if err == nil {
		err = a.serve(port)
	}
	die(err)
}

// die tells the console why the guest cannot go on, and ends it.
func die(err error) {
	if console, openErr := os.OpenFile("/dev/console", os.O_WRONLY, 0); openErr == nil {
		fmt.Fprintf(console, "pyro-agent: fatal: %v\n", err)
	}
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	select {}
}

// serve answers one connection after the other. It returns only where the port is gone.
func (a *Agent) serve(port io.ReadWriteCloser) error {
	listener := wire.Listen(port, wire.Options{})
	for {
		conn, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("the link to the host is lost: %w", err)
		}
		// A new connection means that the one before is over: its commands end with it.
		go link.Serve(context.Background(), conn, a.handle)
	}
}

func (a *Agent) handle(ctx context.Context, req link.Request, stream *wire.Stream) (any, error) {
	switch req.Op {
	case link.OpHello:
		return link.Hello{Version: link.Version}, nil
	case link.OpConfigure:
		c, err := params[link.Configure](req)
		if err != nil {
			return nil, err
		}
		return a.configure(c)
	case link.OpExec:
		e, err := params[link.Exec](req)
		if err != nil {
			return nil, err
		}
		return a.exec(ctx, e, stream)
	case link.OpImport:
		i, err := params[link.Import](req)
		if err != nil {
			return nil, err
		}
		return a.unpack(ctx, i, stream)
	case link.OpExport:
		return link.Empty{}, a.export(ctx, stream)
	case link.OpSync:
		return link.Empty{}, a.sync()
	case link.OpShutdown:
		return a.shutdown(stream)
	}
	return nil, &link.Error{Code: link.CodeUnsupported, Message: fmt.Sprintf("the agent does not know %q", req.Op)}
}

func params[T any](req link.Request) (p T, err error) {
	if err := json.Unmarshal(req.Params, &p); err != nil {
		return p, &link.Error{Code: link.CodeInvalid, Message: fmt.Sprintf("the parameters of %q cannot be read: %v", req.Op, err)}
	}
	return p, nil
}

// ready gives who runs commands, once the guest is a machine of its own.
func (a *Agent) ready() (account, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.configured == nil {
		return account{}, &link.Error{Code: link.CodeState, Message: "the guest is not configured yet"}
	}
	return *a.configured, nil
}

// unpack writes a tree that the host sends.
func (a *Agent) unpack(ctx context.Context, i link.Import, stream *wire.Stream) (any, error) {
	who, err := a.ready()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(i.Destination, 0o755); err != nil {
		return nil, err
	}
	in := link.Reader(stream, link.KindData)
	if i.Spooled {
		spool, err := openSpool()
		if err != nil {
			return nil, err
		}
		defer spool.close()
		in = link.SpoolReader(stream, spool.read)
	}
	summary, err := archive.Extract(ctx, in, archive.ExtractOptions{
		Root: i.Destination, MaxEntries: i.MaxEntries, MaxBytes: i.MaxBytes, UID: int(who.uid), GID: int(who.gid)})
	if err != nil {
		code := link.CodeBadSeed
		if isNoSpace(err) {
			code = link.CodeNoSpace
		}
		return nil, &link.Error{Code: code, Message: err.Error()}
	}
	return link.ImportResult{Entries: summary.Entries, Bytes: summary.Bytes}, nil
}

// sync waits until everything is on the disk.
func (a *Agent) sync() error {
	d, err := a.upper.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("the disk cannot be written out: %w", err)
	}
	return nil
}

// shutdown ends the guest once its answer has gone out. Its disk is left as a running system leaves it: the journal
// makes it whole when it is mounted again.
func (a *Agent) shutdown(stream *wire.Stream) (any, error) {
	err := a.quiet()
	unix.Sync()
	go func() {
		<-stream.Broken()
		unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	}()
	return link.Empty{}, err
}
