//go:build !amd64

package qemu

// clockWords tell a guest under TCG how fast its processor's clock goes. Other processors say so themselves.
func clockWords() string { return "" }
