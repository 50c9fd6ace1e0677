//go:build unconfined

package qemu

const confining = false
