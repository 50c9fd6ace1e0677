package rpc

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// A message beyond the limit fails the call that it belongs to, wherever its id stands near the beginning.
func TestOversizedMessageFailsItsCall(t *testing.T) {
	long := strings.Repeat("x", lineLimit)
	for _, c := range []struct{ line, id string }{
		{`{"jsonrpc":"2.0","id":7,"method":"run_in_vm","params":{"command":"` + long + `"}}`, "7"},
		{`{"id":"a b","method":"run_in_vm","params":{"command":"` + long + `"}}`, `"a b"`},
		{`{"params":{"command":"` + long + `"},"id":7}`, "null"},
		{`[` + long, "null"},
	} {
		answers := talk(t, c.line, `{"id":"end","method":"hello"}`)
		if !strings.Contains(answers[c.id], "longer than") || answers[`"end"`] == "" {
			t.Errorf("%.60s: got %v", c.line, answers)
		}
	}
}

func TestInputIsBounded(t *testing.T) {
	wanted := 0
	in := newInput(func(n int) { wanted += n })
	piece := make([]byte, inputWindow/4)
	for range 4 {
		if err := in.put(piece, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.put([]byte{1}, false); err == nil {
		t.Fatal("more than the window was taken")
	}
	if _, err := io.CopyN(io.Discard, in, inputWindow/2); err != nil || wanted != inputWindow/2 {
		t.Fatalf("half was read: %v, and %d wanted again", err, wanted)
	}
	if err := in.put([]byte("end"), true); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(in)
	if err != nil || len(rest) != inputWindow/2+3 || string(rest[len(rest)-3:]) != "end" {
		t.Errorf("the rest is %d bytes, %v", len(rest), err)
	}
}

// A read that waits ends with its call.
func TestInputEndsWithItsCall(t *testing.T) {
	in := newInput(func(int) {})
	ended := make(chan error)
	go func() {
		_, err := in.Read(make([]byte, 1))
		ended <- err
	}()
	in.close()
	if err := <-ended; !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
	if err := in.put([]byte("late"), false); err != nil {
		t.Errorf("late input: %v", err)
	}
}

func FuzzRequestID(f *testing.F) {
	for _, seed := range []string{`{"id":1,"a":2`, `{"params":{"id":1},"id":"x"`, `[1`, `{"id":{}`, ``,
		`{"id":null,`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if id := requestID(b); len(id) > 0 && (id[0] == '{' || id[0] == '[') {
			t.Errorf("%q has the id %q", b, id)
		}
	})
}
