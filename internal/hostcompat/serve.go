package hostcompat

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/archive"
	"github.com/pyro-mcp/pyro/internal/confine"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/process"
	"github.com/pyro-mcp/pyro/internal/wire"
)

// machine answers the link as a guest's agent does.
type machine struct {
	settings settings
	own      places
	keepers  *keepers
	commands link.Commands

	mu         sync.Mutex
	identified bool
	ready      bool // it is set up
	env        []string
	workDir    string
}

// serve answers until the link is closed or a shutdown is asked for.
func (m *machine) serve() {
	unix.CloseOnExec(linkFD)
	if unix.SetNonblock(linkFD, true) != nil {
		return
	}
	listener := wire.Listen(os.NewFile(linkFD, "link"), wire.Options{})
	ctx, end := context.WithCancel(context.Background())
	go func() {
		defer end()
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go link.Serve(ctx, conn, func(ctx context.Context, req link.Request, stream *wire.Stream) (any,
				error) {
				return m.handle(ctx, req, stream, end)
			})
		}
	}()
	<-ctx.Done()
}

func (m *machine) handle(
	ctx context.Context, req link.Request, stream *wire.Stream, end func(),
) (any, error) {
	switch req.Op {
	case link.OpHello:
		return link.Hello{Version: link.Version}, nil
	case link.OpIdentify:
		return link.Answer(req, m.identify)
	case link.OpSetUp:
		return link.Answer(req, m.setUp)
	case link.OpExec:
		return link.Answer(req, func(e link.Exec) (any, error) { return m.exec(ctx, e, stream) })
	case link.OpAttach, link.OpCommands, link.OpSignal, link.OpResize:
		return m.commands.Handle(ctx, req, stream)
	case link.OpDial:
		return link.Answer(req, func(d link.Dial) (any, error) { return dial(ctx, d, stream) })
	case link.OpImport:
		return link.Answer(req, func(i link.Import) (any, error) { return m.unpack(ctx, i, stream) })
	case link.OpSave:
		return m.pack(ctx, stream)
	case link.OpSync:
		return link.Empty{}, m.sync()
	case link.OpShutdown:
		go func() { // once the answer has been read
			<-stream.Broken()
			end()
		}()
		return link.Empty{}, m.sync()
	}
	return nil, &link.Error{Code: link.CodeUnsupported,
		Message: fmt.Sprintf("the host cannot stand in for a guest in %q", req.Op)}
}

// dial connects the other side to a server that listens on the loopback of the commands.
func dial(ctx context.Context, d link.Dial, stream *wire.Stream) (any, error) {
	if d.Port < 1 || d.Port > 65535 {
		return nil, invalid("%d is no port", d.Port)
	}
	conn, err := process.DialLoopback(d.Port, d.UDP)
	if err != nil {
		return nil, &link.Error{Code: link.CodeState, Message: err.Error()}
	}
	return link.Empty{}, link.Relay(ctx, stream, conn)
}

func invalid(format string, a ...any) error {
	return &link.Error{Code: link.CodeInvalid, Message: fmt.Sprintf(format, a...)}
}

// identify takes nothing: the host's clock, names and network stay what they are.
func (m *machine) identify(link.Identify) (any, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.identified = true
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, err
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return link.Identified{Kernel: unix.ByteSliceToString(u.Release[:]),
		BootID: strings.TrimSpace(string(boot))}, nil
}

// setUp takes what there is to take: the host's users stay what they are.
func (m *machine) setUp(c link.SetUp) (any, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ready {
		return nil, &link.Error{Code: link.CodeState, Message: "the guest is set up already"}
	}
	m.workDir = m.place(c.WorkDir)
	if os.MkdirAll(m.workDir, 0o755) != nil {
		m.workDir = m.own.Workspace // The image's own place is not on the host.
	}
	for _, each := range c.Env {
		name, _, _ := strings.Cut(each, "=")
		switch name {
		case "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR": // of the image's user, who is not here
		default:
			m.env = append(m.env, each)
		}
	}
	m.ready = true
	return link.Empty{}, nil
}

// place gives the path on the host, or in the view, of one that a guest would have. Empty is the workspace.
func (m *machine) place(path string) string {
	if rest, ok := strings.CutPrefix(path, workspacePath); path == "" ||
		ok && (rest == "" || rest[0] == '/') {
		return filepath.Join(m.own.Workspace, rest)
	}
	return path
}

// environ is what a login would set, then what the image says, then the command's own.
func (m *machine) environ(more []string) []string {
	login := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + m.own.Home, "LANG=C.UTF-8",
		"SHELL=/bin/sh", "TERM=dumb"}
	if m.settings.Layers.Has(confine.Mount) {
		login = append(login, "USER="+userName, "LOGNAME="+userName)
	} else {
		login = append(login, "TMPDIR="+m.own.Temp)
	}
	return process.Environment(login, m.env, more)
}

// unpack writes a tree that the other side sends. A place outside the workspace could lead anywhere on a host
// that grants no view of its own.
func (m *machine) unpack(ctx context.Context, i link.Import, stream *wire.Stream) (any, error) {
	if filepath.Clean(i.Destination) != workspacePath {
		return nil, invalid("on the host nothing can be put into %q, only into %s", i.Destination,
			workspacePath)
	}
	summary, err := archive.Extract(ctx, link.Reader(stream, link.KindData), archive.ExtractOptions{
		Root:       m.own.Workspace,
		MaxEntries: i.MaxEntries,
		MaxBytes:   i.MaxBytes,
		UID:        os.Getuid(),
		GID:        os.Getgid(),
		Links:      archive.Links(i.Links),
		DropSetID:  true,
	})
	if err != nil {
		code := link.CodeBadSeed
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
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

// sync waits until the workspace is on the disk.
func (m *machine) sync() error {
	d, err := os.Open(m.own.Workspace)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("the workspace cannot be written out: %w", err)
	}
	return nil
}
