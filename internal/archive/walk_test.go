package archive

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Walk sees what Pack saw: contents with their holes, other names of files, links, and heads if contents are
// not asked for. What a Writer makes of it Walk reads again; Extract and ToTar take no heads.
func TestWalk(t *testing.T) {
	dir := t.TempDir()
	large := strings.Repeat("large", 1000)
	for name, content := range map[string]string{"sub/small": "small", "large": large} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	holes, err := os.Create(filepath.Join(dir, "zholes"))
	if err == nil {
		_, err = holes.WriteAt([]byte("end"), 200<<10)
	}
	for _, err := range []error{
		err, holes.Close(), os.Link(filepath.Join(dir, "large"), filepath.Join(dir, "other")),
		os.Symlink("nowhere", filepath.Join(dir, "link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	whole := strings.Repeat("\x00", 200<<10) + "end"
	for _, heads := range []bool{false, true} {
		o := PackOptions{Links: LinksAny}
		if heads {
			o.Content = func(size, _ int64) bool { return size < 100 }
		}
		var stream bytes.Buffer
		if _, err := Pack(t.Context(), &stream, dir, o); err != nil {
			t.Fatal(err)
		}
		var again bytes.Buffer
		copied := NewWriter(&again)
		for round, in := range []io.Reader{bytes.NewReader(stream.Bytes()), &again} {
			got := map[string]string{}
			_, err := Walk(t.Context(), in, Limits{}, func(e Entry, content io.Reader) error {
				var data []byte
				if content != nil {
					if data, err = io.ReadAll(content); err != nil {
						return err
					}
				}
				got[e.Path] = string(e.Type) + e.Target + string(data)
				if e.Head {
					got[e.Path] += "head"
				}
				if round > 0 {
					return nil
				}
				return copied.Put(e, data)
			})
			if err == nil && round == 0 {
				err = copied.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{
				"sub": "d", "sub/small": "fsmall", "link": "lnowhere", "other": "flarge",
				"large": "f" + large, "zholes": "f" + whole,
			}
			if heads {
				want["large"], want["zholes"] = "fhead", "fhead"
			}
			for name, w := range want {
				if got[name] != w {
					t.Errorf("heads %v, round %d: %q is %.40q", heads, round, name, got[name])
				}
			}
		}
		_, err := ToTar(t.Context(), bytes.NewReader(stream.Bytes()), io.Discard, Limits{})
		if heads != (err != nil) {
			t.Errorf("heads %v: a tar of it: %v", heads, err)
		}
	}
	if _, err := Walk(t.Context(), strings.NewReader("\x02"), Limits{}, nil); err == nil {
		t.Error("a stream that is cut is taken")
	}
}
