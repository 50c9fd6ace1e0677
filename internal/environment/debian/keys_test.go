package debian

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestKeysAreDocumented holds the documentation to the keys that are shipped.
func TestKeysAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/environments-keys.md")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := debianKeys()
	if err != nil || len(keys) == 0 {
		t.Fatalf("%d keys, error %v", len(keys), err)
	}
	for _, key := range keys {
		prints := []string{fmt.Sprintf("%X", key.PrimaryKey.Fingerprint)}
		for _, sub := range key.Subkeys {
			prints = append(prints, fmt.Sprintf("%X", sub.PublicKey.Fingerprint))
		}
		for _, p := range prints {
			if !strings.Contains(string(text), "`"+p+"`") {
				t.Errorf("the documentation lacks the key %s", p)
			}
		}
	}
	if n := strings.Count(string(text), "\n| Debian "); n != len(keys) {
		t.Errorf("the documentation has %d keys, there are %d", n, len(keys))
	}
}
