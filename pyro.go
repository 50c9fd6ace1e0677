// Package pyro runs commands in microVMs: one thrown away after each command, or one kept as a task whose
// workspace outlives each command. There is no daemon and no root: each VM has a supervisor process of its own,
// the pyro executable re-executed (see [WithCommand]).
//
//	p, err := pyro.New()
//	if err != nil { … }
//	defer p.Close()
//	result, err := p.RunInVM(ctx, pyro.RunInVMRequest{
//		Shape:       pyro.Shape{Environment: "debian:12"},
//		CommandLine: pyro.CommandLine{Command: "git --version"},
//	})
//
// The methods are those of every other face of pyro (command line, MCP, Python), with the same parameters,
// defaults, result fields and errors. A context bounds the call, never the life of a VM or a task.
package pyro

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/pyro-mcp/pyro/internal/environment"
	"github.com/pyro-mcp/pyro/internal/environment/debian"
	"github.com/pyro-mcp/pyro/internal/environment/oci"
)

// Defaults and limits of the contract.
const (
	DefaultVCPUCount      = 1
	DefaultMemMiB         = 1024
	DefaultTimeoutSeconds = 30
	DefaultTTLSeconds     = 600
	DefaultMaxActiveVMs   = 4
	DefaultDiskMiB        = 8192
)

// Options is what an [Option] sets. The zero value of each field is its documented default.
type Options struct {
	// CacheDir holds environments, downloads and templates: $PYRO_CACHE_DIR, else pyro in the user's cache directory.
	CacheDir string
	// StateDir holds VMs and tasks: $PYRO_STATE_DIR, else $XDG_STATE_HOME/pyro, else ~/.local/state/pyro.
	StateDir string
	// Command is the pyro executable that supervises VMs: this program if it is pyro, else pyro on PATH.
	Command string
	// MaxActiveVMs is how many VMs and tasks may live at once for one StateDir: $PYRO_MAX_ACTIVE_VMS, else 4.
	MaxActiveVMs int
	// Accelerator is auto (KVM where a guest really boots on it, else TCG), kvm or tcg: $PYRO_ACCELERATOR, else auto.
	Accelerator string
	// Mirror is the Debian mirror that environments are built from: $PYRO_DEBIAN_MIRROR, else the one that the
	// host's own apt sources name, else ftp.debian.org.
	Mirror string
	// InsecureRegistries are the hosts of container registries that may be asked without TLS, or whose certificates are
	// not verified: $PYRO_INSECURE_REGISTRIES, separated by commas. A registry on this host needs no mention.
	InsecureRegistries []string
	// Pool is how many booted clones are kept ready for RunInVM, apart from MaxActiveVMs. The default is none.
	Pool int
	// Logger takes what would help to debug pyro itself; nil is silence.
	Logger *slog.Logger
}

// Option changes one of the [Options].
type Option func(*Options)

// WithCacheDir sets [Options.CacheDir].
func WithCacheDir(dir string) Option { return func(o *Options) { o.CacheDir = dir } }

// WithStateDir sets [Options.StateDir].
func WithStateDir(dir string) Option { return func(o *Options) { o.StateDir = dir } }

// WithCommand sets [Options.Command].
func WithCommand(path string) Option { return func(o *Options) { o.Command = path } }

// WithMaxActiveVMs sets [Options.MaxActiveVMs].
func WithMaxActiveVMs(n int) Option { return func(o *Options) { o.MaxActiveVMs = n } }

// WithAccelerator sets [Options.Accelerator].
func WithAccelerator(name string) Option { return func(o *Options) { o.Accelerator = name } }

// WithMirror sets [Options.Mirror].
func WithMirror(url string) Option { return func(o *Options) { o.Mirror = url } }

// WithInsecureRegistries sets [Options.InsecureRegistries].
func WithInsecureRegistries(hosts ...string) Option {
	return func(o *Options) { o.InsecureRegistries = hosts }
}

// WithPool sets [Options.Pool].
func WithPool(n int) Option { return func(o *Options) { o.Pool = n } }

// WithLogger sets [Options.Logger].
func WithLogger(l *slog.Logger) Option { return func(o *Options) { o.Logger = l } }

// Pyro is the engine. It is safe for concurrent use, and several processes may share its directories.
type Pyro struct {
	options Options
	store   *environment.Store
	log     *slog.Logger
	pool    *pool
}

// New makes an engine. It touches nothing on disk until an operation needs it.
func New(options ...Option) (*Pyro, error) {
	var o Options
	for _, option := range options {
		option(&o)
	}
	if err := o.complete(); err != nil {
		return nil, err
	}
	archive, err := debian.New(debian.Options{Mirror: o.Mirror})
	if err != nil {
		return nil, err
	}
	p := &Pyro{options: o, store: environment.Open(o.CacheDir, archive, oci.New(oci.Options{Kernel: archive.Kernel})), log: o.Logger}
	p.pool = &pool{p: p, size: o.Pool}
	return p, nil
}

// Options returns the options in force, defaults filled in.
func (p *Pyro) Options() Options { return p.options }

// Close ends what belongs to this engine alone (the pool). VMs and tasks live on.
func (p *Pyro) Close() error {
	p.pool.close()
	return nil
}

func (o *Options) complete() error {
	var err error
	if o.CacheDir == "" {
		if o.CacheDir = os.Getenv("PYRO_CACHE_DIR"); o.CacheDir == "" {
			base, errDir := os.UserCacheDir()
			err = errDir
			o.CacheDir = filepath.Join(base, "pyro")
		}
	}
	if err != nil {
		return &Error{Kind: ErrInvalid, Message: "cannot find a cache directory: " + err.Error(), Hint: "set PYRO_CACHE_DIR"}
	}
	if o.StateDir == "" {
		if o.StateDir, err = stateDir(); err != nil {
			return &Error{Kind: ErrInvalid, Message: "cannot find a state directory: " + err.Error(), Hint: "set PYRO_STATE_DIR"}
		}
	}
	for _, dir := range []*string{&o.CacheDir, &o.StateDir} {
		if *dir, err = filepath.Abs(*dir); err != nil {
			return err
		}
	}
	if o.MaxActiveVMs, err = positive(o.MaxActiveVMs, "PYRO_MAX_ACTIVE_VMS", DefaultMaxActiveVMs); err != nil {
		return err
	}
	if o.Accelerator == "" {
		if o.Accelerator = os.Getenv("PYRO_ACCELERATOR"); o.Accelerator == "" {
			o.Accelerator = "auto"
		}
	}
	switch o.Accelerator {
	case "auto", "kvm", "tcg":
	default:
		return invalid("accelerator %q is none of auto, kvm, tcg", o.Accelerator)
	}
	if hosts := os.Getenv("PYRO_INSECURE_REGISTRIES"); o.InsecureRegistries == nil && hosts != "" {
		o.InsecureRegistries = strings.Split(hosts, ",")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

func stateDir() (string, error) {
	if dir := os.Getenv("PYRO_STATE_DIR"); dir != "" {
		return dir, nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		if !filepath.IsAbs(dir) {
			return "", errors.New("$XDG_STATE_HOME is not absolute")
		}
		return filepath.Join(dir, "pyro"), nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".local", "state", "pyro"), err
}
