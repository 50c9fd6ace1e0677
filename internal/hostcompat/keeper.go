package hostcompat

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/process"
)

// order is what a keeper is told to run, as JSON on its file descriptor 3.
type order struct {
	Layers layers
	Places places
	Argv   []string
	Env    []string
	Dir    string
}

// kept is what a keeper has confined itself by.
type kept struct {
	Landlock    int    // version, 0 is none
	LandlockErr string // why not, where the kernel has it
	CallsErr    string // why system calls are not filtered, empty if they are
}

// event is what a keeper says, as JSON on its file descriptor 3: first Kept, then either Failed or, when the command ends,
// Exited. It lives on as long as something of the command does.
type event struct {
	Kept   *kept               `json:",omitempty"`
	Failed string              `json:",omitempty"` // why the command could not be started
	Code   int                 `json:",omitempty"` // the exit status that a shell gives for Failed
	Exited *syscall.WaitStatus `json:",omitempty"`
}

// keep is the process between the shim and one command. It confines itself, and with it all that the command will start,
// and adopts what the command leaves behind: so whatever comes from a command is found below its keeper, in
// whatever session or process group it has hidden.
func keep() int {
	control := os.NewFile(linkFD, "control")
	unix.CloseOnExec(linkFD)
	events := json.NewEncoder(control)
	var o order
	if err := json.NewDecoder(control).Decode(&o); err != nil {
		return 1
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals)
	if err := errors.Join(unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)); err != nil {
		return 1
	}
	if err := events.Encode(event{Kept: confine(o)}); err != nil {
		return 1
	}
	pid, err := start(o)
	if err != nil {
		code, why := process.Failure(o.Argv[0], err)
		_ = events.Encode(event{Failed: why, Code: code})
		return 0
	}
	if !o.Layers.has(layerPID) {
		go endWithShim(signals)
	}
	if err := letGo(); err != nil {
		return 1
	}
	for {
		var status syscall.WaitStatus
		ended, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0
		case ended == pid:
			_ = events.Encode(event{Exited: &status})
		}
	}
}

func confine(o order) *kept {
	k := &kept{Landlock: landlockVersion()}
	if err := restrictFiles(o.Layers, o.Places); err != nil {
		k.Landlock, k.LandlockErr = 0, err.Error()
	}
	if err := restrictCalls(o.Layers); err != nil {
		k.CallsErr = err.Error()
	}
	return k
}

// start runs the command on this process's own standard streams, as leader of a session.
func start(o order) (int, error) {
	if _, err := os.Stat(o.Dir); err != nil {
		return 0, fmt.Errorf("cannot enter its directory: %w", syscall.ENOTDIR)
	}
	path, err := process.Find(o.Argv[0], o.Env, o.Dir)
	if err != nil {
		return 0, err
	}
	return syscall.ForkExec(path, o.Argv, &syscall.ProcAttr{Dir: o.Dir, Env: o.Env, Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Setsid: true}})
}

// letGo gives up the command's standard streams, so that they end with the command.
func letGo() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for fd := range 3 {
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return err
		}
	}
	return nil
}

// endWithShim ends all that the command has started when the shim dies, where no pid namespace does that.
func endWithShim(signals <-chan os.Signal) {
	for s := range signals {
		if s == syscall.SIGTERM {
			process.EndTree(os.Getpid(), endWithin)
			os.Exit(1)
		}
	}
}
