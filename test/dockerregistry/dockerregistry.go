// Package dockerregistry runs Debian's docker-registry on loopback, for tests that want a real one.
package dockerregistry

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Serve starts a registry until the test's end, and gives its address. http is what its configuration says of
// that after the address: a closing brace at the least.
func Serve(t *testing.T, http string) string {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	dir := t.TempDir()
	config := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: "+
		"%s}}\nhttp: {addr: %q%s\n", dir, addr, http)
	path := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-registry", "serve", path)
	if err := cmd.Start(); err != nil {
		t.Fatalf("the tests need docker-registry (tools/setup test installs it): %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	for {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return addr
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("docker-registry ended: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
