package pyro

import (
	"cmp"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Options is what an [Option] sets. The zero value of each field is its documented default.
type Options struct {
	// CacheDir holds environments, downloads and templates: $PYRO_CACHE_DIR, else cache in $PYRO_HOME, else
	// pyro in the user's cache directory.
	CacheDir string
	// StateDir holds VMs and tasks: $PYRO_STATE_DIR, else state in $PYRO_HOME, else $XDG_STATE_HOME/pyro,
	// else ~/.local/state/pyro.
	StateDir string
	// Command is the pyro executable that supervises VMs: this program if it is pyro, else pyro on PATH.
	Command string
	// MaxActiveVMs is how many VMs and tasks may live at once for one StateDir: $PYRO_MAX_ACTIVE_VMS, else
	// what the host's memory and processors hold, 4 at least.
	MaxActiveVMs int
	// Accelerator is auto (KVM if a guest really boots on it, else TCG), kvm or tcg: $PYRO_ACCELERATOR,
	// else auto.
	Accelerator string
	// Isolation is what stands between guests and the host unless a [Shape] says otherwise:
	// $PYRO_ISOLATION, else vm.
	Isolation string
	// Mirror is the Debian mirror that environments are built from: $PYRO_DEBIAN_MIRROR, else the one that
	// the host's own apt sources name, else ftp.debian.org.
	Mirror string
	// InsecureRegistries are the hosts of container registries that may be asked without TLS, or whose
	// certificates are not verified: $PYRO_INSECURE_REGISTRIES, separated by commas. A registry on this
	// host needs no mention.
	InsecureRegistries []string
	// Pool is how many booted clones are kept ready for RunInVM, apart from MaxActiveVMs. The default is
	// none.
	Pool int
	// KeepWarm is for how many seconds a run leaves one more clone of its shape started, for the next run of
	// any process, unless a [RunInVMRequest] says otherwise: $PYRO_KEEP_WARM, else 0, which is none.
	KeepWarm int
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

// WithIsolation sets [Options.Isolation].
func WithIsolation(name string) Option { return func(o *Options) { o.Isolation = name } }

// WithMirror sets [Options.Mirror].
func WithMirror(url string) Option { return func(o *Options) { o.Mirror = url } }

// WithInsecureRegistries sets [Options.InsecureRegistries].
func WithInsecureRegistries(hosts ...string) Option {
	return func(o *Options) { o.InsecureRegistries = hosts }
}

// WithPool sets [Options.Pool].
func WithPool(n int) Option { return func(o *Options) { o.Pool = n } }

// WithKeepWarm sets [Options.KeepWarm].
func WithKeepWarm(seconds int) Option { return func(o *Options) { o.KeepWarm = seconds } }

// WithLogger sets [Options.Logger].
func WithLogger(l *slog.Logger) Option { return func(o *Options) { o.Logger = l } }

func (o *Options) complete() error {
	err := completeDirs(&o.CacheDir, &o.StateDir)
	if err != nil {
		return err
	}
	if o.MaxActiveVMs, err = positive(o.MaxActiveVMs, "PYRO_MAX_ACTIVE_VMS", 0); err != nil {
		return err
	}
	if o.MaxActiveVMs == 0 {
		o.MaxActiveVMs = hostPlaces()
	}
	if text := os.Getenv("PYRO_KEEP_WARM"); o.KeepWarm == 0 && text != "" {
		if o.KeepWarm, err = strconv.Atoi(text); err != nil {
			return invalid("PYRO_KEEP_WARM=%q is not a number of seconds", text)
		}
	}
	if err := ParameterNamed("keep_warm").check(o.KeepWarm); err != nil {
		return err
	}
	if o.Accelerator == "" {
		if o.Accelerator = os.Getenv("PYRO_ACCELERATOR"); o.Accelerator == "" {
			o.Accelerator = "auto"
		}
	}
	if choices := AcceleratorChoices(); !slices.Contains(choices, o.Accelerator) {
		return invalid("accelerator %q is none of %s", o.Accelerator, strings.Join(choices, ", "))
	}
	o.Isolation = cmp.Or(o.Isolation, os.Getenv("PYRO_ISOLATION"), IsolationChoices()[0])
	if err := checkIsolation(o.Isolation); err != nil {
		return err
	}
	if hosts := os.Getenv("PYRO_INSECURE_REGISTRIES"); o.InsecureRegistries == nil && hosts != "" {
		o.InsecureRegistries = strings.Split(hosts, ",")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// positive is n, else the number that a variable of the environment holds, else a default.
func positive(n int, variable string, otherwise int) (int, error) {
	if n < 0 {
		return 0, invalid("%d is not a positive number", n)
	}
	if n > 0 {
		return n, nil
	}
	text := os.Getenv(variable)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		return 0, invalid("%s=%q is not a positive number", variable, text)
	}
	return n, nil
}
