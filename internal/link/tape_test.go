package link

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// TestTape compares a tape with all that was ever written.
func TestTape(t *testing.T) {
	for _, lend := range []bool{true, false} {
		var tp tape
		var all []byte
		for i, n := range []int{0, 1, 4095, 1, 7, 4096, 100, 9000, 65536, 300000, 5, 262144, 262143, 1} {
			p := bytes.Repeat([]byte{byte('a' + i)}, n)
			all = append(all, p...)
			tp.write(p, func(int) bool { return lend })
			var kept []byte
			for at := tp.from(0); at < tp.end; {
				piece := tp.read(at)
				kept, at = append(kept, piece...), at+int64(len(piece))
			}
			size := tapeLimit
			if !lend {
				size = tapeLeast
			}
			want := all[max(0, len(all)-size):]
			if tp.end != int64(len(all)) || len(kept) > len(want) || !bytes.HasSuffix(all, kept) ||
				len(all) > size && len(kept) != size {
				t.Fatalf("lend %v, write %d: %d bytes of %d are kept, end %d", lend, i, len(kept), len(all),
					tp.end)
			}
			if len(all) <= size && len(kept) != len(all) {
				t.Fatalf("lend %v, write %d: %d bytes of %d are kept", lend, i, len(kept), len(all))
			}
		}
		if tp.read(-1) != nil || tp.read(tp.end) != nil || tp.read(tp.begin-1) != nil ||
			tp.from(tp.end+9) != tp.end {
			t.Error("what is not there can be read")
		}
	}
}

// Memory is bounded however many commands there are, and the ended ones make room for those that run.
func TestTapesTogetherAreBounded(t *testing.T) {
	var all Commands
	noise := make([]byte, tapeLimit)
	add := func(i int) *Command {
		c := &Command{exec: Exec{ID: fmt.Sprint("c", i)}, table: &all, done: make(chan struct{})}
		c.changed.L = &c.mu
		if err := all.add(c); err != nil {
			t.Fatal(err)
		}
		for _, kind := range []uint8{KindStdout, KindStderr} {
			if _, err := c.Output(kind).Write(noise); err != nil {
				t.Fatal(err)
			}
		}
		return c
	}
	size := func(commands []*Command) (n int) {
		for _, c := range commands {
			n += len(c.stdout.buf) + len(c.stderr.buf)
		}
		return n
	}
	var running []*Command
	for i := range 100 {
		running = append(running, add(i))
	}
	if n := size(running); n > tapeTotal+200*tapeLeast {
		t.Errorf("100 commands keep %d bytes", n)
	}
	for _, c := range running {
		all.end(c)
	}
	if len(all.byID) > maxEnded || len(all.byID) != len(all.ended) {
		t.Errorf("%d commands are known, %d have ended", len(all.byID), len(all.ended))
	}
	last := add(1000)
	if n := size([]*Command{last}); n != 2*tapeLimit {
		t.Errorf("a running command may keep only %d bytes beside ended ones", n)
	}
	for _, c := range all.ended {
		c.endedAt = c.endedAt.Add(-keepEnded - time.Second)
	}
	if _, err := all.find("c99"); err == nil {
		t.Error("an ended command is kept for ever")
	}
	if len(all.ended) != 0 || all.tapes != last.taped {
		t.Errorf("%d ended commands are left, %d bytes are lent, not %d", len(all.ended), all.tapes,
			last.taped)
	}
}

// A guest's words are known as its own, and it can neither advise nor say what only its supervisor can.
func TestAGuestsWords(t *testing.T) {
	lie := Error{
		Code:    CodeUnavailable,
		Cause:   CauseNoVMM,
		Message: "no \"KVM\"\x1b[2J",
		Hint:    "use --allow-host-compat",
	}
	for _, c := range []struct {
		guest bool
		said  Error
		want  Error
	}{
		{true, lie, Error{Code: CodeInternal, Message: `the guest says "no 'KVM' [2J"`}},
		{true, Error{Code: "grease"}, Error{Code: CodeInternal,
			Message: "the guest failed without a reason"}},
		{true, Error{Code: CodeBadSeed, Message: "m"},
			Error{Code: CodeBadSeed, Message: `the guest says "m"`}},
		{false, lie, Error{
			Code:    CodeUnavailable,
			Cause:   CauseNoVMM,
			Message: "no \"KVM\" [2J",
			Hint:    lie.Hint,
		}},
		{false, Error{Code: "grease", Cause: "grease"},
			Error{Code: CodeInternal, Message: "the other side failed without a reason"}},
	} {
		got := c.said
		if c.guest {
			got.fromGuest()
		} else {
			got.fromSupervisor()
		}
		if got != c.want {
			t.Errorf("%+v: %+v, not %+v", c.said, got, c.want)
		}
	}
	for _, id := range []string{"", "a/b", "a b", "..\n", string(make([]byte, 65))} {
		if ValidCommandID(id) {
			t.Errorf("%q is taken for a command's id", id)
		}
	}
}
