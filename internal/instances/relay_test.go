package instances

import (
	"bytes"
	"log/slog"
	"testing"
	"time"
)

// What a supervisor has logged comes out as it went in.
func TestParseLine(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	log.Debug("agent answered", "ms", 12.5, "in", "supervisor")
	log.Warn("noted", "error", "it said \"no=\n\"", "empty", "")
	written := out.String()
	out.Reset()
	for line := range bytes.Lines([]byte(written)) {
		entry, ok := parseLine(string(bytes.TrimSuffix(line, []byte("\n"))))
		if !ok {
			t.Fatalf("%q is not read", line)
		}
		if err := log.Handler().Handle(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
	}
	if out.String() != written {
		t.Errorf("got\n%s, not\n%s", out.String(), written)
	}
	for _, foreign := range []string{"panic: what", "goroutine 1 [running]:", "\tmain.go:7 +0x1d", `a="`} {
		entry, ok := parseLine(foreign)
		if !ok || entry.Message != foreign && len(foreign) > 3 || time.Since(entry.Time) > time.Minute &&
			len(foreign) > 3 {
			t.Errorf("%q is read as %+v, %t", foreign, entry, ok)
		}
	}
	if _, ok := parseLine(""); ok {
		t.Error("an empty line says something")
	}
}
