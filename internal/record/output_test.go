package record

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
)

// all reads what is kept from a byte on, in steps.
func all(t *testing.T, o *Output, from int64, step int) (data []byte, first int64) {
	t.Helper()
	for i := 0; ; i++ {
		pieces, at, err := o.Read(from, step)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = at
		}
		if len(pieces) == 0 {
			return data, first
		}
		from = at
		for _, p := range pieces {
			data, from = append(data, p.Data...), from+int64(len(p.Data))
		}
	}
}

func TestOutput(t *testing.T) {
	dir := t.TempDir()
	o, err := OpenOutput(dir)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	add := func(stream uint8, p []byte) {
		t.Helper()
		if err := o.Append(stream, p); err != nil {
			t.Fatal(err)
		}
		want = append(want, p...)
	}
	for i := range 3000 {
		add(StreamStdout+uint8(i%2), bytes.Repeat([]byte{byte('a' + i%26)}, i%97+1))
	}
	for _, from := range []int64{0, 1, 5000, int64(len(want)) - 1, int64(len(want)), int64(len(want)) + 5} {
		got, at := all(t, o, from, 1000)
		if from = min(from, int64(len(want))); at != from || !bytes.Equal(got, want[from:]) {
			t.Errorf("from %d: %d bytes at %d", from, len(got), at)
		}
	}
	// Half a piece that a killed writer has left is forgotten.
	o.Close()
	names, _ := filepath.Glob(filepath.Join(dir, "output-*"))
	f, err := os.OpenFile(names[0], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil || len(names) != 1 {
		t.Fatal(err, names)
	}
	f.Write([]byte{3, 200, 0, 0, 0, 'x'})
	f.Close()
	if o, err = OpenOutput(dir); err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	add(StreamStderr, []byte("more"))
	if got, _ := all(t, o, 0, 1<<20); !bytes.Equal(got, want) {
		t.Errorf("%d bytes after a restart, not %d", len(got), len(want))
	}
	// The oldest goes, and the disk is bounded.
	for range 100 {
		add(StreamStdout, bytes.Repeat([]byte("0123456789abcdef"), 8192))
	}
	got, at := all(t, o, 0, 100_000)
	begin, end := o.Bounds()
	if at != begin || end != int64(len(want)) || !bytes.Equal(got, want[begin:]) ||
		len(got) < segmentLimit-maxPiece {
		t.Errorf("%d bytes from %d, bounds %d and %d", len(got), at, begin, end)
	}
	var size int64
	names, _ = filepath.Glob(filepath.Join(dir, "*"))
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size > 2*segmentLimit+4*maxPiece {
		t.Errorf("%d bytes on disk", size)
	}
}

func TestOutputIsAwaited(t *testing.T) {
	o, err := OpenOutput(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	woken := make(chan struct{})
	go func() { o.Await(context.Background(), 0); close(woken) }()
	if err := o.Append(StreamStdout, []byte("x")); err != nil {
		t.Fatal(err)
	}
	<-woken
	o.Await(context.Background(), 0) // there already
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	o.Await(ctx, 1)
	o.Finish()
	o.Await(context.Background(), 1)
	if o.Append(StreamStdout, []byte("x")) == nil {
		t.Error("an output that is finished grows")
	}
}
