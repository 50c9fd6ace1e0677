package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// refused are archives, and the same as streams, that no side takes, with the entry and words that the error
// names.
func refused(t testing.TB) map[string]struct {
	archive, stream []byte // nil if there is no such thing
	entry, want     string
} {
	items := []item{regular("one", strings.Repeat("1", 700)), regular("two", "2")}
	whole, sent := tarOf(t, items...), streamOf(t, items...)
	type row = struct {
		archive, stream []byte
		entry, want     string
	}
	rows := map[string]row{
		"cut in content":        {whole[:1000], sent[:100], "one", "truncated"},
		"cut in padding":        {whole[:1300], nil, "one", "truncated"},
		"cut between":           {whole[:1536], nil, "one", "truncated"},
		"cut in a header":       {whole[:1600], nil, "one", "truncated"},
		"no end mark":           {whole[:2560], nil, "two", "truncated"},
		"half an end mark":      {whole[:3072], nil, "two", "truncated"},
		"stream cut between":    {nil, sent[:headSize+3+700], "", "truncated"},
		"stream cut in a head":  {nil, sent[:headSize+3+700+9], "", "truncated"},
		"stream cut in a path":  {nil, sent[:headSize+3+700+headSize+1], "", "truncated"},
		"stream without an end": {nil, sent[:len(sent)-1], "", "truncated"},
		"another archive": {append(bytes.Clone(whole), whole...), append(bytes.Clone(sent), sent...),
			"", "follows the end"},
		"a byte behind zeros": {append(append(bytes.Clone(whole), make([]byte, 20000)...), 1), nil, "",
			"follows the end"},
		"a byte behind the end": {nil, append(bytes.Clone(sent), 0), "", "follows the end"},
		"zeros without end": {append(bytes.Clone(whole), make([]byte, maxTrailer+1<<20)...), nil, "",
			"zeros follow"},
		"no tar":         {bytes.Repeat([]byte("text"), 1000), nil, "", "not a tar archive"},
		"nothing at all": {[]byte{}, []byte{}, "", "truncated"},
		"damage further on": {append(append(bytes.Clone(whole[:1536]), bytes.Repeat([]byte("x"), 512)...),
			whole...), nil, "one", "damaged"},
		"device":              {tarOf(t, special("d", tar.TypeChar)), nil, "d", "device"},
		"disk":                {tarOf(t, special("d", tar.TypeBlock)), nil, "d", "device"},
		"FIFO":                {tarOf(t, special("d", tar.TypeFifo)), nil, "d", "FIFO"},
		"unknown type":        {tarOf(t, special("d", 'Z')), nil, "d", "type 'Z'"},
		"unknown kind":        {nil, streamOf(t, special("d", 'Z')), "d", "kind 90"},
		"a kind of the rules": {nil, streamOf(t, special("d", byte(pinned|file))), "d", "kind"},
	}
	add := func(name, entry, want string, items ...item) {
		rows[name] = row{tarOf(t, items...), streamOf(t, items...), entry, want}
	}
	add("a name that is no one", ".", "root", regular(".", ""))
	add("absolute", "/etc/passwd", "absolute", regular("/etc/passwd", ""))
	add("dot dot", "a/../../b", `".."`, regular("a/../../b", ""))
	add("inner dot dot", "a/../b", `".."`, regular("a/../b", ""))
	add("long name", strings.Repeat("n", 256), "256 bytes", regular(strings.Repeat("n", 256), ""))
	add("long path", strings.Repeat("n/", 2048)+"f", "4097 bytes",
		regular(strings.Repeat("n/", 2048)+"f", ""))
	add("deep path", strings.Repeat("n/", 600)+"f", "deep", regular(strings.Repeat("n/", 600)+"f", ""))
	add("below a link", "l/a", "symbolic link", symlink("l", "d"), folder("d"), regular("l/a", ""))
	add("below a file", "f/a", "not a directory", regular("f", ""), regular("f/a", ""))
	add("file over directory", "d", "replace a directory", folder("d"), regular("d", ""))
	add("link over implied directory", "d", "replace a directory", regular("d/a", ""), symlink("d", "e"))
	add("hard link up", "h", `".."`, hardlink("h", "../x"))
	add("hard link to absolute", "h", "absolute", hardlink("h", "/etc/passwd"))
	add("hard link to nothing", "h", "no earlier", hardlink("h", "x"))
	add("hard link to later", "h", "no earlier", hardlink("h", "x"), regular("x", ""))
	add("hard link to itself", "h", "itself", regular("h", ""), hardlink("h", "./h"))
	add("hard link to a directory", "h", "regular", folder("d"), hardlink("h", "d"))
	add("hard link to a link", "h", "regular", symlink("d", "x"), hardlink("h", "d"))
	for _, target := range []string{"..", "../x", "a/../../x", "/", "/etc", "/workspace/../etc",
		"/workspacex", "/x/../workspace"} {
		add("link to "+target, "l", "outside", symlink("l", target))
	}
	add("link from below", "d/e/l", "outside", symlink("d/e/l", "../../../x"))
	add("link up through a link", "l", "goes up", folder("a/b"), symlink("up", "."), symlink("l", "up/x/.."),
		symlink("l", "up/.."))
	add("link up through a later link", "a/up", "leads up through", symlink("l", "a/up/.."),
		symlink("a/up", ".."))
	add("empty target", "l", "0 bytes", symlink("l", ""))
	add("long target", "l", "4096 bytes", symlink("l", strings.Repeat("x", 4096)))
	return rows
}

func TestRefused(t *testing.T) {
	for name, test := range refused(t) {
		t.Run(name, func(t *testing.T) {
			got := map[string]error{}
			if test.archive != nil {
				_, got["pack"] = strictly(t.Context(), io.Discard, saved(t, "a.tar", test.archive),
					Limits{})
				_, got["gzip"] = strictly(t.Context(), io.Discard, saved(t, "a.tar.gz",
					gzipped(t, test.archive)),
					Limits{})
			}
			if test.stream != nil {
				_, got["extract"] = Extract(t.Context(), bytes.NewReader(test.stream), options(t.TempDir()))
			}
			for side, err := range got {
				var r *RefusedError
				if !errors.As(err, &r) {
					t.Errorf("%s: %v is not a refusal", side, err)
				} else if named := r.Entry == test.entry || side == "extract" &&
					strings.Contains(err.Error(), test.entry); !named ||
					!strings.Contains(r.Reason, test.want) {
					t.Errorf("%s: %v does not name %q and %q", side, err, test.entry, test.want)
				}
			}
		})
	}
}

func TestSourceRefused(t *testing.T) {
	whole := tarOf(t, regular("a", "1"))
	zipped := gzipped(t, whole)
	damaged := bytes.Clone(zipped)
	damaged[len(damaged)-6] ^= 1 // of the checksum
	pipe := filepath.Join(t.TempDir(), "pipe.tar")
	check(t, syscall.Mkfifo(pipe, 0o600))
	for source, want := range map[string]string{
		saved(t, "a.tar", zipped):                                           "not what its name says",
		saved(t, "b.tgz", whole):                                            "not what its name says",
		saved(t, "c.tar.gz", nil):                                           "not what its name says",
		saved(t, "d.tgz", zipped[:len(zipped)-9]):                           "truncated",
		saved(t, "e.tgz", zipped[:5]):                                       "truncated",
		saved(t, "f.tgz", damaged):                                          "damaged",
		saved(t, "g.tgz", append(bytes.Clone(zipped), "something else"...)): "follows the end",
		saved(t, "h.tgz", append(bytes.Clone(zipped), zipped...)):           "follows the end",
		saved(t, "i.zip", whole):                                            "nor named",
		pipe:                                                                "neither a directory nor a file",
	} {
		_, err := strictly(t.Context(), io.Discard, source, Limits{})
		var r *RefusedError
		if !errors.As(err, &r) || !strings.Contains(r.Reason, want) {
			t.Errorf("%s: got %v, want a refusal with %q", filepath.Base(source), err, want)
		}
	}
	if _, err := strictly(t.Context(), io.Discard, "/nowhere", Limits{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestDirectoryRefused(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"FIFO":    func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"socket":  func(p string) error { return syscall.Mknod(p, syscall.S_IFSOCK|0o600, 0) },
		"outside": func(p string) error { return os.Symlink("../../x", p) },
		"goes up": func(p string) error {
			return errors.Join(os.Symlink(".", filepath.Dir(p)+"/up"),
				os.Symlink("d/../../x/../..", filepath.Dir(p)+"/a"), os.Remove(filepath.Dir(p)+"/a"),
				os.Symlink("up/..", p))
		},
		"absolute": func(p string) error { return os.Symlink("/etc", p) },
	} {
		at := t.TempDir()
		check(t, os.Mkdir(filepath.Join(at, "d"), 0o755), make(filepath.Join(at, "d", "x")))
		_, err := strictly(t.Context(), io.Discard, at, Limits{})
		var r *RefusedError
		if !errors.As(err, &r) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestLimits(t *testing.T) {
	at := t.TempDir()
	var items []item
	for i := range 5 {
		items = append(items, regular(fmt.Sprint(i), "0123456789"))
		check(t, os.WriteFile(filepath.Join(at, fmt.Sprint(i)), []byte("0123456789"), 0o600))
	}
	_, err := strictly(t.Context(), io.Discard, at, Limits{MaxEntries: 5, MaxBytes: 50})
	check(t, err)
	for name, l := range map[string]Limits{"4 entries": {MaxEntries: 4}, "49 bytes": {MaxBytes: 49}} {
		_, dirErr := strictly(t.Context(), io.Discard, at, l)
		_, tarErr := strictly(t.Context(), io.Discard, saved(t, "a.tar", tarOf(t, items...)), l)
		o := options(t.TempDir())
		o.MaxEntries, o.MaxBytes = l.MaxEntries, l.MaxBytes
		_, extractErr := Extract(t.Context(), bytes.NewReader(streamOf(t, items...)), o)
		for _, err := range []error{dirErr, tarErr, extractErr} {
			if !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: got %v", name, err)
			}
		}
	}
	if _, err := strictly(t.Context(), io.Discard, saved(t, "a.tar", tarOf(t, regular("a/b/c/d", ""))),
		Limits{MaxEntries: 3}); !errors.Is(err, ErrLimit) {
		t.Errorf("implied directories: got %v", err)
	}
}

// TestBombs stops small archives that inflate: one with a large file, one with headers that never come to an
// entry.
func TestBombs(t *testing.T) {
	large := tarOf(t, item{tar.Header{Name: "large", Mode: 0o600}, strings.Repeat("\x00", 8<<20)})
	var headers bytes.Buffer
	for range 160 {
		w := tar.NewWriter(&headers)
		h := &tar.Header{Name: "x", PAXRecords: map[string]string{"comment": strings.Repeat("c", 60<<10)}}
		check(t, w.WriteHeader(h))
		headers.Truncate(headers.Len() - 512) // the entry's own
	}
	for name, b := range map[string][]byte{"large": large, "headers": headers.Bytes()} {
		source := saved(t, "a.tgz", gzipped(t, b))
		if _, err := strictly(t.Context(), io.Discard, source,
			Limits{MaxBytes: 1 << 20, MaxEntries: 10}); !errors.Is(err, ErrLimit) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// interrupt calls do when the first bytes are written.
type interrupt struct{ do func() error }

func (w *interrupt) Write(p []byte) (int, error) {
	if do := w.do; do != nil {
		w.do = nil
		return len(p), do()
	}
	return len(p), nil
}

func TestChanged(t *testing.T) {
	for name, do := range map[string]func(at string) error{
		"shorter":  func(at string) error { return os.Truncate(at+"/a", 1<<19) },
		"longer":   func(at string) error { return os.Truncate(at+"/a", 1<<21) },
		"touched":  func(at string) error { return os.Chtimes(at+"/a", testTime, testTime.Add(time.Second)) },
		"vanished": func(at string) error { return os.RemoveAll(at + "/b") },
	} {
		at := t.TempDir()
		check(t, os.WriteFile(at+"/a", make([]byte, 1<<20), 0o600), os.Mkdir(at+"/b", 0o700))
		_, err := strictly(t.Context(), &interrupt{func() error { return do(at) }}, at, Limits{})
		entry := "a"
		if name == "vanished" {
			entry = "b"
		}
		if !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), fmt.Sprintf("entry %q", entry)) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestExtractOverLinks extracts where links and files stand already: what they name stays untouched.
func TestExtractOverLinks(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	check(t, os.WriteFile(outside+"/file", []byte("mine"), 0o600),
		os.Symlink(outside+"/file", root+"/a"), os.Symlink(outside, root+"/d"))
	stream := streamOf(t, regular("a", "new"), folder("d"), regular("d/b", "new"))
	_, err := Extract(t.Context(), bytes.NewReader(stream), options(root))
	check(t, err)
	b, err := os.ReadFile(outside + "/file")
	if names, _ := os.ReadDir(outside); err != nil || string(b) != "mine" || len(names) != 1 {
		t.Errorf("outside was changed: %q, %v, %v", b, names, err)
	}
	check(t, os.RemoveAll(root+"/d"), os.Symlink(outside, root+"/d"))
	_, err = Extract(t.Context(), bytes.NewReader(streamOf(t, regular("d/b", "new"))), options(root))
	var r *RefusedError
	if !errors.As(err, &r) || r.Entry != "d" {
		t.Errorf("got %v, want a refusal of the link", err)
	}
}
