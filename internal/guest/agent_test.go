package guest

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

// TestAgentDigest holds the embedded agent and its digest together.
func TestAgentDigest(t *testing.T) {
	a, err := agent()
	if err != nil {
		t.Fatalf("%v: run make build first", err)
	}
	program, err := a.Open()
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(program); hex.EncodeToString(sum[:]) != a.SHA256 {
		t.Errorf("the agent's digest is %x, not %s: run make build", sum, a.SHA256)
	}
}
