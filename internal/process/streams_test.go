package process

import (
	"bytes"
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

// A command that prints much gets a wider pipe, and nothing of its output is lost or twice on the way.
func TestMuchOutputWidensThePipe(t *testing.T) {
	var got bytes.Buffer
	o, write, err := NewOutput(&got)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 3<<20)
	for i := range want {
		want[i] = byte(i * 7 >> 3)
	}
	if _, err := io.Copy(write, bytes.NewReader(want)); err != nil {
		t.Fatal(err)
	}
	size, err := unix.FcntlInt(write.Fd(), unix.F_GETPIPE_SZ, 0)
	write.Close()
	if end := o.End(); err != nil || end != nil {
		t.Fatal(err, end)
	}
	if size != wideBy {
		t.Errorf("the pipe holds %d bytes, want %d", size, wideBy)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%d bytes came, not the %d that were written", got.Len(), len(want))
	}
}
