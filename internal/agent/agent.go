// Package agent is PID 1 of a guest: it mounts, reaps, runs commands, keeps those that outlive their
// caller, and moves files. It trusts nothing that the host did not send.
package agent

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/pyro-mcp/pyro/internal/archive"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/wire"
	"golang.org/x/sys/unix"
)

// Agent answers the host.
type Agent struct {
	upper    *os.Root // what differs from the base image
	null     *os.File
	keeper   *keeper // nil unless what differs is in memory
	machine  machine
	start    starter
	group    func() (group, error) // makes one for each command
	quiet    func() error          // ends all commands
	hold     func(bool) error      // has all commands stand still, or go on
	powerOff func()
	commands link.Commands
	shell    func() string // that runs command lines
	booted   link.Boot

	mu         sync.Mutex
	identified bool     // the guest is a machine of its own
	root       *account // who runs commands unless the host says otherwise, nil until it is looked up
	who        *account // who runs commands, nil until the guest is set up
	env        []string
	workDir    string
	made       bool // the workspace is new, and the agent's to give away
}

// Main is the guest's first process. It does not return.
func Main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "pyro-agent is the first process of a guest and of no other use")
		os.Exit(2)
	}
	start := boot
	if len(os.Args) > 1 && os.Args[1] == link.Boxed {
		start = func() (*Agent, io.ReadWriteCloser, error) { return bootBoxed(os.Args[2:]) }
	}
	began := uptime()
	a, port, err := start()
	if err == nil {
		a.booted = link.Boot{KernelMS: began, AgentMS: uptime() - began}
		err = a.Serve(port)
	}
	die(err)
}

// uptime is how long the kernel has run, in milliseconds.
func uptime() int64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) // It is there in each Linux that we run on.
	return now.Nano() / int64(time.Millisecond)
}

// die tells the console why the guest cannot go on, and ends it.
func die(err error) {
	if console, openErr := os.OpenFile("/dev/console", os.O_WRONLY|unix.O_NONBLOCK, 0); openErr == nil {
		fmt.Fprintf(console, "pyro-agent: fatal: %v\n", err)
	} else {
		fmt.Fprintf(os.Stderr, "pyro-agent: fatal: %v\n", err)
	}
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	os.Exit(1) // There is no such call in a guest without a virtual machine.
}

// Serve answers one connection after the other. A command of one that was replaced goes on, to be attached
// to. Serve returns only when the port is gone.
func (a *Agent) Serve(port io.ReadWriteCloser) error {
	listener := wire.Listen(port, wire.Options{})
	for {
		conn, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("the link to the host is lost: %w", err)
		}
		go link.Serve(context.Background(), conn, a.handle)
	}
}

func (a *Agent) handle(ctx context.Context, req link.Request, stream *wire.Stream) (any, error) {
	switch req.Op {
	case link.OpHello:
		return link.Hello{Version: link.Version, Boot: a.booted}, nil
	case link.OpIdentify:
		return link.Answer(req, a.identify)
	case link.OpSetUp:
		return link.Answer(req, a.setUp)
	case link.OpExec:
		return link.Answer(req, func(e link.Exec) (any, error) { return a.exec(ctx, e, stream) })
	case link.OpAttach, link.OpCommands, link.OpSignal, link.OpResize:
		return a.commands.Handle(ctx, req, stream)
	case link.OpDial:
		return link.Answer(req, func(d link.Dial) (any, error) { return a.dial(ctx, d, stream) })
	case link.OpImport:
		return link.Answer(req, func(i link.Import) (any, error) { return a.unpack(ctx, i, stream) })
	case link.OpStat, link.OpRead, link.OpWrite, link.OpList, link.OpFetch, link.OpReplace:
		return a.files(ctx, req, stream)
	case link.OpExport:
		return link.Answer(req, func(e link.Export) (any, error) {
			return link.Empty{}, a.export(ctx, e, stream)
		})
	case link.OpSave:
		return link.Answer(req, func(s link.Save) (any, error) { return a.save(ctx, s, stream) })
	case link.OpSync:
		return link.Empty{}, a.sync()
	case link.OpHold:
		return link.Empty{}, a.hold(true)
	case link.OpRelease:
		return link.Empty{}, a.hold(false)
	case link.OpShutdown:
		return a.shutdown(stream)
	}
	return nil, link.Unsupported(req.Op)
}

// ready gives who runs commands, once the guest is set up and a machine of its own.
func (a *Agent) ready() (account, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.who == nil || !a.identified {
		return account{}, &link.Error{Code: link.CodeState, Message: "the guest is not set up yet"}
	}
	return *a.who, nil
}

// unpack writes a tree that the host sends.
func (a *Agent) unpack(ctx context.Context, i link.Import, stream *wire.Stream) (any, error) {
	who, err := a.ready()
	if err != nil {
		return nil, err
	}
	i.Destination = inGuest(i.Destination)
	if err := who.makeDirs(i.Destination); err != nil {
		return nil, fileError(err)
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
		Root:       i.Destination,
		MaxEntries: i.MaxEntries,
		MaxBytes:   i.MaxBytes,
		UID:        int(who.uid),
		GID:        int(who.gid),
		Owners:     i.Owners,
		Links:      archive.Links(i.Links),
	})
	if err != nil {
		code := link.CodeBadSeed
		if isNoSpace(err) {
			code = link.CodeNoSpace
		}
		return nil, &link.Error{Code: code, Message: err.Error()}
	}
	return link.ImportResult{
		Entries: summary.Entries,
		Bytes:   summary.Bytes,
		AtNS:    time.Now().UnixNano(),
	}, nil
}

// save sends what the host does not have yet of a disk that is memory.
func (a *Agent) save(ctx context.Context, s link.Save, stream *wire.Stream) (any, error) {
	if a.keeper == nil {
		return nil, link.Unsupported(link.OpSave)
	}
	return link.Empty{}, a.keeper.save(ctx, s.Full, link.Writer(stream, link.KindData))
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

// shutdown ends the guest once its answer has gone out. Its disk is left as a running system leaves it: the
// journal makes it whole when it is mounted again.
func (a *Agent) shutdown(stream *wire.Stream) (any, error) {
	err := a.quiet()
	unix.Sync()
	go func() {
		<-stream.Broken()
		a.powerOff()
	}()
	return link.Empty{}, err
}
