//go:build !amd64

package qemu

// clockCmdline tells a guest under TCG how fast its processor's clock goes. Others say so themselves.
func clockCmdline() string { return "" }
