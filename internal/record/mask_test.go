package record

import (
	"bytes"
	"strings"
	"testing"
)

// However a stream is cut into writes, no secret is kept, and all else is.
func TestMask(t *testing.T) {
	secrets := []string{"s3cret", "s3cret-long", "abc", "-----BEGIN\nline one\n-----END\n", "aaaa"}
	text := "x s3cret y s3cret-long z abc s3cre aaaaa\n-----BEGIN\nline one\n-----END\nline one."
	const want = "x *** y *** z abc s3cre ***a\n******."
	for size := 1; size <= len(text); size++ {
		var got bytes.Buffer
		w := NewMask(secrets).Writer(&got)
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			if _, err := w.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if got.String() != want {
			t.Fatalf("in pieces of %d: %q, not %q", size, got.String(), want)
		}
	}
	var got bytes.Buffer
	w := NewMask(nil).Writer(&got)
	if _, err := w.Write([]byte(text)); err != nil || w.Flush() != nil || got.String() != text {
		t.Errorf("without secrets: %q, %v", got.String(), err)
	}
}

func FuzzMask(f *testing.F) {
	f.Add("secret", "a secret b", uint8(3))
	f.Fuzz(func(t *testing.T, secret, text string, size uint8) {
		if len(secret) < shortestSecret || strings.ContainsAny(secret, "*\n") ||
			strings.TrimSpace(secret) != secret {
			return
		}
		var got bytes.Buffer
		w := NewMask([]string{secret}).Writer(&got)
		for i := 0; i < len(text); i += int(size) + 1 {
			_, _ = w.Write([]byte(text[i:min(i+int(size)+1, len(text))]))
		}
		_ = w.Flush()
		if want := strings.ReplaceAll(text, secret, masked); got.String() != want {
			t.Errorf("%q without %q is %q, not %q", text, secret, got.String(), want)
		}
	})
}
